# bash completion for waymark(1)                                          -*- shell-script -*-
# SPDX-License-Identifier: LGPL-2.1-or-later
# The words are those of `waymark help --words`; a test compares the two.

# The names of networks, or of VPNs.
_waymark_names() {
    local netid name rest
    waymark "${dir[@]}" --timeout 1 "$1" list 2>/dev/null |
        while read -r netid name rest; do
            [[ $netid == [0-9]* ]] && printf '%s\n' "$name"
        done
}

# The names of one's keys, or of whom is acted for; only those that compgen -W leaves alone.
_waymark_keys() {
    waymark "${dir[@]}" "${as[@]}" --timeout 1 keystore list 2>/dev/null |
        grep -E '^[A-Za-z0-9_.:@%+-]+$'
}

_waymark_networks() { _waymark_names network; }
_waymark_vpns() { _waymark_names vpn; }

# Only names that compgen -W has nothing to expand in: an interface may be called almost anything.
_waymark_interfaces() {
    local path
    for path in /sys/class/net/*; do
        [[ ${path##*/} =~ ^[A-Za-z0-9_.:@+-]+$ ]] && printf '%s\n' "${path##*/}"
    done
}

# What stands behind an option that takes a value; false when it takes none.
_waymark_value() {
    case $1 in
        --type) values="physical vpn local unreachable" ;;
        --permission) values="none network system" ;;
        --color) values="auto always never" ;;
        --scope) values="auto systemd daemon" ;;
        --lockdown | --fall-through | --bypass | --always-on | --everyone | --forward) values="yes no" ;;
        --apps | --except | --exempt) values="uid: user: group: cgroup: unit: exe:" ;;
        --lan) values="none link-local" ;;
        --owner | --as) values=$(compgen -u) ;;
        --map | --name | --wait | --engine | --address | --route | --exclude) values="" ;;
        --interface | --dev) values=$(_waymark_interfaces) ;;
        --user) values=$(compgen -u) ;;
        --runtime-dir | --config | --timeout | --netid | --dns | --domain | --outside) values="" ;;
        --uid | --pid | --exe | --unit | --cgroup | --mark | --from) values="" ;;
        *) return 1 ;;
    esac
}

# Is the word behind an option its value, or the beginning of it? Some may stand alone: theirs is
# yes or no.
_waymark_takes() {
    _waymark_value "$1" && [[ $values != "yes no" || yes == "$2"* || no == "$2"* ]]
}

_waymark_options() {
    local vpn=" --everyone --apps --except --exempt --lockdown --bypass --lan"
    local service=" --owner --always-on --forward --engine"
    local adopted=" --fall-through --address --route --exclude --dns --domain"

    values="--json --runtime-dir --timeout --color --help --version"
    case ${args[*]:0:2} in
        "network add" | "network set")
            values+=" --netid --type --interface --dns --domain --permission"
            values+=" --fall-through --lockdown --outside" ;;
        "vpn add") values+="$vpn$service" ;;
        "vpn adopt") values+="$vpn$adopted --name" ;;
        "vpn import") values+="$vpn --fall-through --interface --name --force --config" ;;
        "vpn set") values+="$vpn$service$adopted --interface" ;;
        "vpn up") values+=" --wait" ;;
        "vpn consent") values+=" --everyone --revoke" ;;
        "keystore get" | "keystore reset") values+=" --as --force" ;;
        "keystore import") values+=" --map --partial --force" ;;
        "keystore "*) values+=" --as" ;;
    esac
    case ${args[0]} in
        assign) values+=" --prefer" ;;
        run) values+=" --scope" ;;
        explain) values+=" --uid --user --pid --exe --unit --cgroup --mark --dev --from" ;;
    esac
}

_waymark_selectors() {
    values="uid: user: group: cgroup: unit: exe:"
    compopt -o nospace 2>/dev/null
}

# The word behind "network VERB …" or "route VERB …".
_waymark_under() {
    case "${args[*]:0:2} ${#args[@]}" in
        "network list "* | "network add "*) values="" ;;
        "network "*" 2" | "route "*" 2") values=$(_waymark_networks) ;;
        "network attach 3" | "network detach 3") values=$(_waymark_interfaces) ;;
        "route "*" 3") values="default" ;;
        "route "*)
            values="via unreachable throw dev mtu"
            [[ ${args[-1]} == dev ]] && values=$(_waymark_interfaces)
            [[ ${args[-1]} == via || ${args[-1]} == mtu ]] && values="" ;;
    esac
}

# The word behind "vpn VERB".
_waymark_of_vpn() {
    case ${args[1]} in
        show | set | remove | up | down) values=$(_waymark_vpns) ;;
        adopt) values=$(_waymark_interfaces) ;;
        import)
            mapfile -t files < <(compgen -f -X '!*.conf' -- "$cur")
            mapfile -t -O "${#files[@]}" files < <(compgen -d -- "$cur")
            compopt -o filenames 2>/dev/null ;;
        consent) values=$(compgen -u) ;;
    esac
}

# The word behind "keystore VERB …".
_waymark_of_keystore() {
    case "${args[1]} ${#args[@]}" in
        "get 2" | "put 2" | "rm 2" | "list 2" | "grant 2" | "ungrant 2") values=$(_waymark_keys) ;;
        "grant 3" | "ungrant 3") values=$(compgen -u) ;;
        "import 2")
            mapfile -t files < <(compgen -d -- "$cur")
            compopt -o filenames 2>/dev/null ;;
    esac
}

_waymark_words() {
    local commands="status network route default assign unassign assignments apps run vpn keystore explain verify
        doctor monitor reload panic-off help"

    [[ ${args[0]} == help ]] && args=("${args[@]:1}") && [[ ${#args[@]} -gt 1 ]] && return
    case "${args[0]} ${#args[@]}" in
        " "*) values=$commands ;;
        "network 1") values="list show add set remove attach detach" ;;
        "route 1") values="add remove" ;;
        "vpn 1") values="list show add adopt import set remove up down consent" ;;
        "vpn 2") _waymark_of_vpn ;;
        "keystore 1")
            values="test put get rm list grant ungrant lock unlock password reset import" ;;
        "keystore "*) _waymark_of_keystore ;;
        "network "* | "route "*) _waymark_under ;;
        "default 1") values="system $(_waymark_networks)" ;;
        "assign 1" | "unassign 1") _waymark_selectors ;;
        "assign 2") values="none default $(_waymark_networks)" ;;
        "run 1") values="none $(_waymark_networks)" ;;
    esac
}

_waymark() {
    local cur prev values="" i args=() dir=() as=() files=()

    if declare -F _get_comp_words_by_ref >/dev/null; then
        local words cword
        _get_comp_words_by_ref -n := -c cur -p prev -w words -i cword
    else
        local words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
        cur=${words[cword]} prev=${words[cword - 1]}
    fi
    for ((i = 1; i < cword; i++)); do
        [[ ${words[i]} == --runtime-dir ]] && dir=(--runtime-dir "${words[i + 1]}")
        [[ ${words[i]} == --as ]] && as=(--as "${words[i + 1]}")
        if [[ ${words[i]} == -* ]]; then
            _waymark_takes "${words[i]}" "${words[i + 1]}" && ((i++))
        else
            args+=("${words[i]}")
        fi
    done

    values=""
    if [[ ${args[0]} == run && ${#args[@]} -gt 2 ]] || [[ ${args[0]} == run && ${#args[@]} -eq 2 &&
        $prev != --scope && $cur != -* ]]; then
        # a program, and what it takes, which it knows alone
        [[ ${#args[@]} -eq 2 ]] && mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        [[ ${#args[@]} -eq 2 ]] || compopt -o default 2>/dev/null
        return 0
    elif [[ $prev == --runtime-dir || $prev == --config ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames 2>/dev/null
        return 0
    elif [[ $prev == --exe ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null
        return 0
    elif [[ $prev == -* ]] && _waymark_takes "$prev" "$cur"; then
        [[ $values == uid:* ]] && compopt -o nospace 2>/dev/null
    elif [[ $cur == -* ]]; then
        _waymark_options
    else
        _waymark_words
    fi
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
    COMPREPLY+=("${files[@]}")
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
    return 0
}

complete -F _waymark waymark
