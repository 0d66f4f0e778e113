#!/usr/bin/perl
# The packets of the scenarios: servers, clients and floods.
#   serve-tcp PORT                      greets each connection and echoes what it says
#   serve-udp PORT                      counts datagrams until SIGTERM, then prints how many came
#   echo-udp PORT                       sends each datagram back
#   connect ADDRESS PORT SECONDS [FROM] exit 0 if greeted within the time, else 1; FROM: the local port
#   hammer ADDRESS PORT SECONDS WAIT    connects again and again; prints "TRIED GREETED LAST" where LAST is
#                                       when the last greeted attempt began (seconds since 1970)
#   flood ADDRESS PORT SECONDS RATE     sends datagrams; prints how many
#   hold ADDRESS PORT [FROM]            connects, prints "up LOCALPORT" once greeted and "ended WHEN" once it is over;
#                                       FROM: the local address
#   refused ADDRESS PORT SECONDS        sends datagrams; prints when one was refused
#   gone SECONDS PID...                 waits until the processes are gone; prints when the last was
#   datagram ADDRESS PORT BYTES         sends one; larger than the link's MTU it goes in fragments
use strict;
use warnings;
use IO::Handle;
use IO::Select;
use Socket qw(:DEFAULT getaddrinfo :addrinfo IPPROTO_IPV6 IPV6_V6ONLY IPPROTO_TCP);
use Time::HiRes qw(time sleep);
use Errno qw(EINPROGRESS);

use constant SO_RCVBUFFORCE => 33;    # asm-generic/socket.h

my ($verb, @arguments) = @ARGV;
$| = 1;

sub peer {
    my ($address, $port, $type) = @_;
    my ($error, $found) = getaddrinfo($address, $port, {flags => AI_NUMERICHOST, socktype => $type});
    die "$address: $error\n" if $error;
    return $found;
}

# One socket for both families.
sub bound {
    my ($port, $type) = @_;
    socket(my $socket, AF_INET6, $type, 0) or die "socket: $!\n";
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
    setsockopt($socket, IPPROTO_IPV6, IPV6_V6ONLY, 0) or die "v6only: $!\n";
    bind($socket, pack_sockaddr_in6($port, Socket::IN6ADDR_ANY)) or die "bind $port: $!\n";
    return $socket;
}

sub greeted {
    my ($address, $port, $seconds, $from) = @_;
    my $end = time + $seconds;
    my $peer = peer($address, $port, SOCK_STREAM);
    socket(my $socket, $peer->{family}, SOCK_STREAM, 0) or die "socket: $!\n";
    if ($from) {
        bind($socket, pack_sockaddr_in($from, INADDR_ANY)) or die "bind $from: $!\n";
    }
    $socket->blocking(0);
    return 0 unless connect($socket, $peer->{addr}) || $! == EINPROGRESS;
    IO::Select->new($socket)->can_write($end - time) or return 0;
    IO::Select->new($socket)->can_read($end - time) or return 0;
    return (sysread($socket, my $greeting, 64) // 0) > 0;
}

if ($verb eq 'serve-tcp') {
    my $listener = bound($arguments[0], SOCK_STREAM);
    listen($listener, 4096) or die "listen: $!\n";
    my $all = IO::Select->new($listener);
    while (my @ready = $all->can_read) {
        for my $socket (@ready) {
            if ($socket == $listener) {
                accept(my $connection, $listener) or next;
                syswrite($connection, "sallyport\n");
                $all->add($connection);
            } elsif (sysread($socket, my $said, 4096)) {
                syswrite($socket, $said);
            } else {
                $all->remove($socket);
                close $socket;
            }
        }
    }
} elsif ($verb eq 'serve-udp') {
    my $socket = bound($arguments[0], SOCK_DGRAM);
    setsockopt($socket, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20) or die "rcvbuf: $!\n";
    my ($count, $ended) = (0, 0);
    $SIG{TERM} = sub { $ended = 1 };
    my $ready = IO::Select->new($socket);
    until ($ended) {
        next unless $ready->can_read(0.05);
        recv($socket, my $datagram, 65535, 0) // next;
        $count++;
    }
    print "$count\n";
} elsif ($verb eq 'echo-udp') {
    my $socket = bound($arguments[0], SOCK_DGRAM);
    while (1) {
        my $from = recv($socket, my $datagram, 65535, 0) // next;
        send($socket, $datagram, 0, $from);
    }
} elsif ($verb eq 'connect') {
    exit(greeted(@arguments) ? 0 : 1);
} elsif ($verb eq 'hammer') {
    my ($address, $port, $seconds, $wait) = @arguments;
    my ($tried, $greeted, $last, $end) = (0, 0, 0, time + $seconds);
    while ((my $began = time) < $end) {
        $tried++;
        next unless greeted($address, $port, $wait);
        $greeted++;
        $last = $began;
    }
    printf "%d %d %.3f\n", $tried, $greeted, $last;
} elsif ($verb eq 'flood') {
    my ($address, $port, $seconds, $rate) = @arguments;
    my $peer = peer($address, $port, SOCK_DGRAM);
    socket(my $socket, $peer->{family}, SOCK_DGRAM, 0) or die "socket: $!\n";
    my ($sent, $began) = (0, time);
    while ((my $elapsed = time - $began) < $seconds) {
        while ($sent < $elapsed * $rate) {
            defined send($socket, "x" x 64, 0, $peer->{addr}) or die "send: $!\n";
            $sent++;
        }
        sleep 0.0002;
    }
    print "$sent\n";
} elsif ($verb eq 'hold') {
    my ($address, $port, $from) = @arguments;
    my $peer = peer($address, $port, SOCK_STREAM);
    socket(my $socket, $peer->{family}, SOCK_STREAM, 0) or die "socket: $!\n";
    if ($from) { bind($socket, peer($from, 0, SOCK_STREAM)->{addr}) or die "bind $from: $!\n" }
    connect($socket, $peer->{addr}) or die "connect: $!\n";
    sysread($socket, my $greeting, 64) or die "not greeted\n";
    my (undef, undef, $local) = getnameinfo(getsockname($socket), NI_NUMERICHOST | NI_NUMERICSERV);
    print "up $local\n";
    1 while sysread($socket, my $said, 4096);
    printf "ended %.4f\n", time;
} elsif ($verb eq 'refused') {
    my ($address, $port, $seconds) = @arguments;
    my $peer = peer($address, $port, SOCK_DGRAM);
    socket(my $socket, $peer->{family}, SOCK_DGRAM, 0) or die "socket: $!\n";
    connect($socket, $peer->{addr}) or die "connect: $!\n";
    my $end = time + $seconds;
    while (time < $end) {
        if (!defined send($socket, 'x', 0)) {
            printf "%.4f\n", time;
            exit 0;
        }
        sleep 0.002;
    }
    exit 1;
} elsif ($verb eq 'gone') {
    my ($seconds, @processes) = @arguments;
    my $end = time + $seconds;
    for my $process (@processes) {
        # A zombie is gone but for its parent.
        while (open(my $stat, '<', "/proc/$process/stat")) {
            last if (<$stat> // '') =~ /\) Z/;
            die "process $process is still there\n" if time > $end;
            sleep 0.001;
        }
    }
    printf "%.4f\n", time;
} elsif ($verb eq 'datagram') {
    my ($address, $port, $bytes) = @arguments;
    my $peer = peer($address, $port, SOCK_DGRAM);
    socket(my $socket, $peer->{family}, SOCK_DGRAM, 0) or die "socket: $!\n";
    send($socket, "x" x $bytes, 0, $peer->{addr}) or die "send: $!\n";
} else {
    die "unknown verb\n";
}
