/// What `nft -s list table inet sallyport` prints of a gate with three grants, without their times.
///
/// nft 1.0.6 does not know the flag `persist` and prints `owner` alone.
let expectedTable = """
    table inet sallyport {
    \tflags owner

    \tset breakglass4 {
    \t\ttype ipv4_addr
    \t\tflags interval
    \t\tcounter
    \t\telements = { 192.0.2.9 counter }
    \t}

    \tset earlier4 {
    \t\ttype ipv4_addr . inet_service . ipv4_addr . inet_service . inet_proto
    \t}

    \tset clients4 {
    \t\ttype ipv4_addr . inet_proto . inet_service
    \t\tsize 65536
    \t\tflags dynamic,timeout
    \t}

    \tset breakglass6 {
    \t\ttype ipv6_addr
    \t\tflags interval
    \t\tcounter
    \t}

    \tset earlier6 {
    \t\ttype ipv6_addr . inet_service . ipv6_addr . inet_service . inet_proto
    \t}

    \tset clients6 {
    \t\ttype ipv6_addr . inet_proto . inet_service
    \t\tsize 65536
    \t\tflags dynamic,timeout
    \t}

    \tmap managed {
    \t\ttype inet_proto . inet_service : verdict
    \t\telements = { tcp . 22 : goto keep,
    \t\t\t     tcp . 5000 : goto keep,
    \t\t\t     udp . 5000 : goto cut,
    \t\t\t     sctp . 5000 : goto keep,
    \t\t\t     udplite . 5000 : goto cut,
    \t\t\t     tcp . 5001 : goto keep,
    \t\t\t     udp . 5001 : goto cut,
    \t\t\t     sctp . 5001 : goto keep,
    \t\t\t     udplite . 5001 : goto cut }
    \t}

    \tmap own {
    \t\ttype inet_proto . inet_service : verdict
    \t}

    \tset managed_udp {
    \t\ttype inet_service
    \t\telements = { 5000, 5001 }
    \t}

    \tset grants4_32 {
    \t\ttype ipv4_addr . inet_proto . inet_service
    \t\tflags timeout
    \t\tcounter
    \t\telements = { 198.51.100.7 . tcp . 22 counter comment "1.1 alice" }
    \t}

    \tset grants4_24 {
    \t\ttype ipv4_addr . inet_proto . inet_service
    \t\tflags timeout
    \t\tcounter
    \t\telements = { 198.51.100.0 . tcp . 22 counter comment "2.1 alice" }
    \t}

    \tset grants6_64 {
    \t\ttype ipv6_addr . inet_proto . inet_service
    \t\tflags timeout
    \t\tcounter
    \t\telements = { 2001:db8:: . tcp . 5000 counter comment "3.1 alice",
    \t\t\t     2001:db8:: . udp . 5000 counter comment "3.1 alice",
    \t\t\t     2001:db8:: . sctp . 5000 counter comment "3.1 alice",
    \t\t\t     2001:db8:: . udplite . 5000 counter comment "3.1 alice" }
    \t}

    \tchain ended {
    \t\ttcp flags syn / syn,ack counter drop
    \t\ttcp flags & rst == rst accept
    \t\tmeta l4proto tcp counter reject with tcp reset
    \t\tmeta l4proto udp counter reject
    \t\tmeta l4proto udplite counter reject
    \t\tcounter drop
    \t}

    \tchain refuse {
    \t\ttcp flags syn / syn,ack limit rate 50/second burst 100 packets log group 21328
    \t\tmeta l4proto != tcp limit rate 50/second burst 100 packets log group 21328
    \t\tcounter drop
    \t}

    \tchain passing {
    \t\tct status ! confirmed udp sport @managed_udp fib saddr . iif oif missing counter drop
    \t\tct status ! confirmed udplite sport @managed_udp fib saddr . iif oif missing counter drop
    \t}

    \tchain answers {
    \t\ttcp flags syn / syn,ack return
    \t\tmeta l4proto sctp @th,96,8 0x1 return
    \t\tip saddr . meta l4proto . th dport @clients4 return
    \t\tip6 saddr & ffff:ffff:ffff:ffff:: . meta l4proto . th dport @clients6 return
    \t\tct state established accept
    \t}

    \tchain admit {
    \t\tct status ! confirmed update @clients4 { ip saddr . meta l4proto . th dport } accept
    \t\tct status ! confirmed update @clients6 { ip6 saddr & ffff:ffff:ffff:ffff:: . meta l4proto . th dport } accept
    \t\taccept
    \t}

    \tchain judge {
    \t\tip6 saddr & ffff:ffff:ffff:ffff:: . meta l4proto . th dport @grants6_64 accept
    \t\tip saddr & 255.255.255.0 . meta l4proto . th dport @grants4_24 accept
    \t\tip saddr . meta l4proto . th dport @grants4_32 accept
    \t\tiif "lo" accept
    \t\tip saddr @breakglass4 accept
    \t\tfib daddr type unicast goto passing
    \t\ttcp flags syn / syn,ack limit rate 50/second burst 100 packets log group 21328
    \t\tmeta l4proto != tcp limit rate 50/second burst 100 packets log group 21328
    \t\tcounter drop
    \t}

    \tchain keep {
    \t\ttcp flags syn / syn,ack goto judge
    \t\tmeta l4proto sctp @th,96,8 0x1 goto judge
    \t\tct state established accept
    \t\tgoto judge
    \t}

    \tchain cut {
    \t\tip6 saddr & ffff:ffff:ffff:ffff:: . meta l4proto . th dport @grants6_64 goto admit
    \t\tip saddr & 255.255.255.0 . meta l4proto . th dport @grants4_24 goto admit
    \t\tip saddr . meta l4proto . th dport @grants4_32 goto admit
    \t\tct direction reply jump answers
    \t\tiif "lo" accept
    \t\tip saddr @breakglass4 accept
    \t\tfib daddr type unicast goto passing
    \t\tct state established goto ended
    \t\tgoto refuse
    \t}

    \tchain far_judge {
    \t\tiif "lo" accept
    \t\tip saddr @breakglass4 accept
    \t\ttcp flags syn / syn,ack limit rate 50/second burst 100 packets log group 21328
    \t\tmeta l4proto != tcp limit rate 50/second burst 100 packets log group 21328
    \t\tcounter drop
    \t}

    \tchain far_keep {
    \t\ttcp flags syn / syn,ack goto far_judge
    \t\tmeta l4proto sctp @th,96,8 0x1 goto far_judge
    \t\tct state established accept
    \t\tgoto far_judge
    \t}

    \tchain far_cut {
    \t\tct direction reply jump answers
    \t\tiif "lo" accept
    \t\tip saddr @breakglass4 accept
    \t\tct state established goto ended
    \t\tgoto refuse
    \t}

    \tchain far {
    \t\tmeta l4proto . th dport vmap @own
    \t\tjump passing
    \t\taccept
    \t}

    \tchain here {
    \t\tmeta l4proto . th dport vmap @managed
    \t\taccept
    \t}

    \tchain strict {
    \t\tjump here
    \t\tct state established goto ended
    \t\tgoto refuse
    \t}

    \tchain prerouting {
    \t\ttype filter hook prerouting priority mangle; policy accept;
    \t\tmeta l4proto . th dport vmap @managed
    \t\tct status ! confirmed udp sport @managed_udp fib saddr . iif oif missing counter drop
    \t\tct status ! confirmed udplite sport @managed_udp fib saddr . iif oif missing counter drop
    \t}

    \tchain input {
    \t\ttype filter hook input priority mangle; policy accept;
    \t\tct status dnat goto strict
    \t\tmeta sdif != 0 goto strict
    \t\tct state established accept
    \t\tfib daddr type unicast goto strict
    \t}
    }

    """
