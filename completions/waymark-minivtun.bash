# bash completion for waymark-minivtun(8)                                  -*- shell-script -*-
# SPDX-License-Identifier: LGPL-2.1-or-later
# The options are those of `waymark-minivtun --help`; a test compares the two.

# Only names that compgen -W has nothing to expand in: an interface may be called almost anything.
_waymark_minivtun_interfaces() {
    local path
    for path in /sys/class/net/*; do
        [[ ${path##*/} =~ ^[A-Za-z0-9_.:@+-]+$ ]] && printf '%s\n' "${path##*/}"
    done
}

_waymark_minivtun_options() {
    printf '%s\n' --local --remote --ipv4-addr --ipv6-addr --ifname --mtu --qlen --key --type --route \
        --wait-dns --daemon --pidfile --keepalive --reconnect-timeo --health-interval --buckets \
        --max-droprate --max-rtt --health-file --exit-after --tap --key-file --waymark --dns \
        --everyone --user --no-offload --no-batch --no-sandbox --log-level --version --help
}

_waymark_minivtun() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} values=""

    COMPREPLY=()
    case $prev in
        -t | --type) values="aes-128 aes-256 des desx rc4" ;;
        --log-level) values="err warning notice info debug" ;;
        --user) values=$(compgen -u) ;;
        -n | --ifname) values=$(_waymark_minivtun_interfaces) ;;
        -p | --pidfile | -H | --health-file | --key-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            compopt -o filenames 2>/dev/null
            return 0 ;;
        -[lraAmQevKRSBPXx] | --local | --remote | --ipv4-addr | --ipv6-addr | --mtu | --qlen | --key | \
            --route | --keepalive | --reconnect-timeo | --health-interval | --buckets | \
            --max-droprate | --max-rtt | --exit-after | --waymark | --dns) ;;
        *) values=$(_waymark_minivtun_options) ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
    return 0
}

complete -F _waymark_minivtun waymark-minivtun
