# fish completion of kubectl-NAME

function __kubectl_FUNCTION
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (kubectl-NAME __complete $words[2..-1] 2>/dev/null)
    or return
    set -l directive (string sub -s 2 -- $answer[-1])
    set -e answer[-1]
    if test (math "bitand($directive, 16)") -ne 0
        __fish_complete_directories (commandline -ct)
    else if test (math "bitand($directive, 4)") -eq 0; and test (count $answer) -eq 0
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $answer
    end
end

complete -c kubectl-NAME -f -a '(__kubectl_FUNCTION)'
