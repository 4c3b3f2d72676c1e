#compdef kubectl-NAME
# zsh completion of kubectl-NAME

_kubectl_FUNCTION() {
    local -a lines candidates
    local line value directive
    lines=("${(@f)$(kubectl-NAME __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive=${lines[-1]#:}
    for line in "${(@)lines[1,-2]}"; do
        value=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            candidates+=("${value//:/\\:}:${line#*$'\t'}")
        else
            candidates+=("${value//:/\\:}")
        fi
    done
    if ((directive & 16)); then
        _files -/
    elif ((directive & 4 || ${#candidates})); then
        if ((directive & 2)); then
            _describe -V value candidates -S ''
        else
            _describe -V value candidates
        fi
    else
        _files
    fi
}

if [[ ${funcstack[1]} == _kubectl-NAME ]]; then
    _kubectl_FUNCTION
else
    compdef _kubectl_FUNCTION kubectl-NAME
fi
