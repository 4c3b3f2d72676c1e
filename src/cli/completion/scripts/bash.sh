# bash completion of kubectl-NAME

_kubectl_FUNCTION() {
    local words=() line=$COMP_LINE i
    # bash splits words at `=` and `:`; what no space divides is one word again.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        line=${line#*"${COMP_WORDS[i - 1]}"}
        if ((i > 1)) && [[ $line != [[:space:]]* ]]; then
            words[${#words[@]} - 1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    local current=${words[${#words[@]} - 1]} answer directive
    current=${current#[\"\']}
    words[${#words[@]} - 1]=$current
    answer=$(kubectl-NAME __complete "${words[@]}" 2>/dev/null) || return
    directive=${answer##*:}
    answer=${answer%:*}
    # Only what stands behind the last such sign is replaced.
    local known=${current%"${current##*[=:]}"}
    [[ $COMP_WORDBREAKS == *[=:]* ]] || known=
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate%%$'\t'*}
        [[ -n $candidate ]] && COMPREPLY+=("${candidate#"$known"}")
    done <<<"$answer"
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    if ((directive & 16)); then
        compopt -o dirnames 2>/dev/null
    elif ! ((directive & 4)); then
        compopt -o default 2>/dev/null
    fi
}

complete -F _kubectl_FUNCTION kubectl-NAME
