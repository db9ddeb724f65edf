# fish completion for waymark-minivtun(8)
# SPDX-License-Identifier: LGPL-2.1-or-later
# The options are those of `waymark-minivtun --help`; a test compares the two.

function __waymark_minivtun_interfaces
    for path in /sys/class/net/*
        string replace -r '.*/' '' $path
    end
end

complete -c waymark-minivtun -f
complete -c waymark-minivtun -s l -l local -x -d 'be a server, and listen there'
complete -c waymark-minivtun -s r -l remote -x -d 'be a client of that server'
complete -c waymark-minivtun -s a -l ipv4-addr -x -d 'inner IPv4 address'
complete -c waymark-minivtun -s A -l ipv6-addr -x -d 'inner IPv6 address'
complete -c waymark-minivtun -s n -l ifname -x -a '(__waymark_minivtun_interfaces)' -d "the TUN's name"
complete -c waymark-minivtun -s m -l mtu -x -d "the TUN's MTU"
complete -c waymark-minivtun -s Q -l qlen -x -d "the TUN's queue length"
complete -c waymark-minivtun -s e -l key -x -d 'shared password'
complete -c waymark-minivtun -s t -l type -x -a 'aes-128 aes-256 des desx rc4' -d cipher
complete -c waymark-minivtun -s v -l route -x -d 'route to the tunnel'
complete -c waymark-minivtun -s w -l wait-dns -d "wait until the server's name can be resolved"
complete -c waymark-minivtun -s d -l daemon -d 'go into the background when all is set up'
complete -c waymark-minivtun -s p -l pidfile -r -F -d "where to write the process's number"
complete -c waymark-minivtun -s K -l keepalive -x -d 'between two echoes, in seconds'
complete -c waymark-minivtun -s R -l reconnect-timeo -x -d 'until a peer is given up, in seconds'
complete -c waymark-minivtun -s S -l health-interval -x -d 'length of a bucket, in seconds'
complete -c waymark-minivtun -s B -l buckets -x -d 'that are looked at together'
complete -c waymark-minivtun -s P -l max-droprate -x -d 'per cent of lost echoes; more: reconnect'
complete -c waymark-minivtun -s X -l max-rtt -x -d 'mean round-trip time in ms; more: reconnect'
complete -c waymark-minivtun -s H -l health-file -r -F -d "where to write the link's health"
complete -c waymark-minivtun -s x -l exit-after -x -d 'and end, in seconds'
complete -c waymark-minivtun -s E -l tap -d 'carry Ethernet frames instead of IP packets'
complete -c waymark-minivtun -l key-file -r -F -d 'the password is its first line'
complete -c waymark-minivtun -l waymark -x -d 'the TUN and all about it from waymarkd'
complete -c waymark-minivtun -l dns -x -d 'a DNS server behind the tunnel'
complete -c waymark-minivtun -l everyone -d "for all users' apps, not only for one's own"
complete -c waymark-minivtun -l user -x -a '(__fish_complete_users)' -d 'whom to be once all is set up'
complete -c waymark-minivtun -l no-offload -d 'one packet at a time to and from the TUN'
complete -c waymark-minivtun -l no-batch -d 'one datagram at a time to and from the network'
complete -c waymark-minivtun -l no-sandbox -d 'stay whom it was started as'
complete -c waymark-minivtun -l log-level -x -a 'err warning notice info debug' -d 'what is said'
complete -c waymark-minivtun -l version -d 'the version of this program'
complete -c waymark-minivtun -s h -l help -d 'what there is'
