# bash completion for ptb: asks `ptb __complete`, which knows every command, option, box and image.

_ptb() {
    local line current words=() otherwise
    # Names hold colons, at which bash splits words: put them together again.
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] || ${#words[@]} -eq 0 ]] && words+=("")
    current=${words[-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r line _; do
        case $line in
            :*) otherwise=$line ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    case $otherwise in
        :files) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        :directories) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        :commands) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
    esac
    [[ $otherwise == :files || $otherwise == :directories ]] && compopt -o filenames 2>/dev/null
    # What bash replaces is only what follows the last place where it split.
    if [[ $current == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then
        local head=${current%"${current##*[:=]}"}
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _ptb ptb
