#!/usr/bin/perl
# Knocks at a host from many addresses, all of them this machine's by a local route, and holds some of the sessions.
#   knock.pl FILE RATE HOST4 HOST6     until SIGTERM; so many attempts in a second; writes a line for each into FILE:
#     tried PORT ADDRESS FROM UNTIL in|out|slow      slow: out, and this process had to wait for the processor
#     said PORT ADDRESS FROM UNTIL SINCE             what was said in a session, which began SINCE, was answered
#     lost PORT ADDRESS FROM UNTIL SINCE             a session was alive FROM and dead UNTIL
#     dumb PORT ADDRESS FROM UNTIL SINCE             what was said FROM has not been answered
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use IO::Handle;
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time sleep);

use constant {IP_FREEBIND => 15, TCP_SYNCNT => 7};    # linux/in.h, linux/tcp.h
# A packet that is let in is answered by the kernel at once; the second is sent after a second.
use constant {PATIENCE_TCP => 0.9, PATIENCE_UDP => 3, MOST_HELD => 40, MOST_OPEN => 700};

my ($file, $rate, $host4, $host6) = @ARGV;
open my $log, '>>', $file or die "$file: $!\n";
$log->autoflush;
my $is_over;
$SIG{TERM} = sub { $is_over = 1 };
$SIG{PIPE} = 'IGNORE';

sub one_of { $_[rand @_] }
# Those that are asked for, and neighbours of theirs that never are.
sub address {
    my ($net, $host) = (1 + int rand 8, 1 + int rand 32);
    my $asked = rand > 0.1;
    return one_of(sprintf('10.%d.%d.%d', $asked ? 64 : 65, $net, $host), sprintf('fd%d:0:0:%d::%x', $asked ? 64 : 65, $net, $host));
}

my (%socket, %held);    # by descriptor
my $awake = time;       # when this process last had the processor
my @gaps;               # when it had not

sub report { printf $log "%s %s %s %.4f %.4f %s\n", @_ }
sub had_to_wait { my ($from) = @_; scalar grep { $_ >= $from } @gaps }

sub knock {
    my ($now) = @_;
    my $from = address();
    my $port = one_of(qw(8080/tcp 8080/tcp 8081/tcp 8081/tcp 7000/udp 9000/tcp 9001/udp 9005/tcp));
    my ($number, $protocol) = split '/', $port;
    my $six = $from =~ /:/;
    my $family = $six ? AF_INET6 : AF_INET;
    my $pack = $six ? \&pack_sockaddr_in6 : \&pack_sockaddr_in;
    socket(my $socket, $family, $protocol eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM, 0) or die "socket: $!\n";
    $socket->blocking(0);
    setsockopt($socket, 0, IP_FREEBIND, 1) or die "freebind: $!\n";
    bind($socket, $pack->(0, inet_pton($family, $from))) or die "bind $from: $!\n";
    my %knock = (socket => $socket, port => $port, from => $from, began => $now, protocol => $protocol);
    if ($protocol eq 'tcp') {
        setsockopt($socket, IPPROTO_TCP, TCP_SYNCNT, 1);
        setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    connect($socket, $pack->($number, inet_pton($family, $six ? $host6 : $host4))) || $! == EINPROGRESS or return;
    if ($protocol eq 'udp') { defined send($socket, 'x', 0) or return }
    $socket{fileno $socket} = \%knock;
    return;
}

sub hang_up {
    my ($knock) = @_;
    delete $socket{fileno $knock->{socket}};
    delete $held{fileno $knock->{socket}};
    # With a reset, so that no number waits for its reuse.
    setsockopt($knock->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
    close $knock->{socket};
    return;
}

sub over {
    my ($knock, $now, $outcome) = @_;
    report('tried', @{$knock}{qw(port from began)}, $now, $outcome);
    if ($outcome ne 'in' || $knock->{protocol} eq 'udp' || keys %held >= MOST_HELD || rand > 0.2) { return hang_up($knock) }
    my $number = fileno $knock->{socket};
    delete $socket{$number};
    @{$knock}{qw(alive said until since)} = ($now, 0, $now + 1 + rand 12, $now);
    $held{$number} = $knock;
    return;
}

# What a held session has to say, and what it hears.
sub hold {
    my ($knock, $is_ready, $now) = @_;
    if ($is_ready) {
        my $count = sysread $knock->{socket}, my $heard, 4096;
        if (!$count && (defined $count || !$!{EAGAIN})) {
            report('lost', @{$knock}{qw(port from alive)}, $now, $knock->{since});
            return hang_up($knock);
        }
        if ($count && $knock->{said} && $heard =~ /\Q$knock->{word}/) {
            report('said', @{$knock}{qw(port from said)}, $now, $knock->{since});
            @{$knock}{qw(alive said)} = ($now, 0);
        }
    }
    if ($knock->{said} && $now - $knock->{said} > 5) {
        report('dumb', @{$knock}{qw(port from said)}, $now, $knock->{since});
        return hang_up($knock);
    }
    if (!$knock->{said} && $now - $knock->{alive} > 0.2) {
        return hang_up($knock) if $now > $knock->{until};
        $knock->{said} = $now;
        $knock->{word} = sprintf '<%.6f>', $now;
        syswrite $knock->{socket}, $knock->{word};
    }
    return;
}

my ($began, $knocks) = (time, 0);
until ($is_over) {
    my $now = time;
    push @gaps, $now if $now - $awake > 0.25;
    shift @gaps while @gaps && $gaps[0] < $now - 10;
    $awake = $now;
    # What could not be done in time is not made up for.
    my $due = ($now - $began) * $rate;
    $knocks = $due - $rate / 10 if $knocks < $due - $rate / 10;
    for (; $knocks < $due && keys %socket < MOST_OPEN; $knocks++) { knock($now) }

    my ($reading, $writing) = ('', '');
    for my $number (keys %socket) { vec($socket{$number}{protocol} eq 'tcp' ? $writing : $reading, $number, 1) = 1 }
    vec($reading, $_, 1) = 1 for keys %held;
    select($reading, $writing, undef, 0.01) >= 0 or next;
    $now = time;
    for my $number (keys %socket) {
        my $knock = $socket{$number};
        if (vec($knock->{protocol} eq 'tcp' ? $writing : $reading, $number, 1)) {
            my $failure = unpack 'i', getsockopt $knock->{socket}, SOL_SOCKET, SO_ERROR;
            my $is_in = !$failure && ($knock->{protocol} eq 'tcp' || sysread $knock->{socket}, my $echo, 64);
            over($knock, $now, $is_in ? 'in' : 'out');
        } elsif ($now - $knock->{began} > ($knock->{protocol} eq 'tcp' ? PATIENCE_TCP : PATIENCE_UDP)) {
            over($knock, $now, had_to_wait($knock->{began}) ? 'slow' : 'out');
        }
    }
    for my $number (keys %held) { hold($held{$number}, vec($reading, $number, 1), $now) if $held{$number} }
}
