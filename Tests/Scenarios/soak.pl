#!/usr/bin/perl
# Everything at once for a while, and whether all of it agrees at any time with a model of what people were told.
#   soak.pl SECONDS RATE HOST4 HOST6 CONFIGURATION STATE LOG [OPTION...]   runs sallyportd with these options, in namespace `host`
# People open, extend, close, approve, deny, cancel, reload and change a policy as fast as the agent answers, while clients knock
# from many addresses, RATE times a second, others tamper with the table, and the agent is killed again and again. Then kernel,
# ledger, audit trail and answers must agree, and every packet must have been treated as the model says. Memory and descriptors
# must not grow with the number of operations. What is wrong is printed, a line each, with status 1.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Select;
use List::Util qw(max);
use POSIX qw(WNOHANG);
use Time::HiRes qw(time sleep);
use Storm::Agreement;
use Storm::Crowd;
use Storm::Deeds;
use Storm::Elements;
use Storm::Model;
use Storm::People;

my ($seconds, $rate, $host4, $host6, $configuration, $state, $log, @options) = @ARGV;
my $is_owned = !grep { $_ eq '--unowned' } @options;
$SIG{PIPE} = 'IGNORE';
$| = 1;

my (@faults, %count, @lives);
my $begun = time;
sub fault { printf "%.1f s: %s\n", time - $begun, $_[0]; push @faults, $_[0]; die "too much is wrong\n" if @faults > 20 }

# --- what people do here

@workers = qw(alice alice alice bob bob bob ada carol erin root);
$enough = 300;
$durations = sub { one_of(qw(1s 2s 3s 5s 5s 10s 20s 50m)) };
$targets = sub { one_of(['web'], ['desk'], ['data'], ['vault'], ['web', 'desk'], ['vault', 'data']) };
sub range {
    my ($net, $host) = (1 + int rand 8, 1 + int rand 32);
    no warnings 'redundant';
    return sprintf(one_of(('10.64.%d.%d') x 6, '10.64.%d.0/24', ('fd64:0:0:%d::%x') x 6, 'fd64:0:0:%d::/64', 'fd64:0:0:%d::/112'), $net, $host);
}
$sources = sub { return map { range() } 0 .. int rand 2 };
$Storm::Crowd::begins = \&begins;
$Storm::Crowd::ends = sub { comes_of(@_); return };

# --- the agent

my $agent;
sub launched {
    my ($out, @command) = @_;
    my $child = fork // die "fork: $!\n";
    return $child if $child;
    open STDOUT, '>>', $out;
    open STDERR, '>&', \*STDOUT;
    exec @command or die "$command[0]: $!\n";
}
sub start_agent {
    $agent = launched($log, qw(ip netns exec host sallyportd --config), $configuration, @options);
    my $end = time + 20;
    until (eval { get('/v1/status') }) {
        die "the agent does not start: $@\n" if time > $end || waitpid($agent, WNOHANG);
        sleep 0.02;
    }
    return;
}
sub end_agent {
    my ($signal) = @_;
    kill $signal, $agent;
    waitpid $agent, 0;
    $agent = undef;
    return;
}

# Memory of its own, in KiB, and open descriptors.
sub resources {
    open my $status, '<', "/proc/$agent/status" or die "/proc/$agent/status: $!\n";
    my ($memory) = join('', <$status>) =~ /RssAnon:\s+(\d+)/;
    return {memory => $memory, descriptors => scalar(my @open = glob "/proc/$agent/fd/*")};
}

# --- what others do to the table

# The number of the table, once grants are in it: a reload that finds none makes it first, and then puts them in.
sub table_handle {
    my $listing = `ip netns exec host nft -a -t list table inet sallyport 2>/dev/null`;
    return $listing =~ /\Atable inet sallyport \{ # handle (\d+).*set grants/s ? $1 : 0;
}
my $wound;    # what was done and is not mended: what, the table's number before, the doubt, when it was looked at
my @armed;    # when a start may have found no table: whoever was connected then is earlier than the gate, and stays

sub harm {
    my $grant = one_of(map { @{$_->{grants}} } grep { $_->{state} eq 'active' } unfinished());
    my ($address, $length, $number, $protocol) = $grant ? ("$grant->{source} $grant->{port}") =~ m{(\S+)/(\d+) (\d+)/(\w+)} : ();
    return one_of('flush ruleset', 'delete table inet sallyport', 'flush chain inet sallyport judge', 'flush chain inet sallyport prerouting',
        'insert rule inet sallyport refuse accept', 'insert rule inet sallyport judge drop',
        'flush set inet sallyport grants4_32', 'add element inet sallyport grants4_32 { 10.65.1.1 . tcp . 8080 timeout 1h }',
        $grant ? ("delete element inet sallyport grants@{[$address =~ /:/ ? 6 : 4]}_$length { $address . $protocol . $number }") x 3 : ());
}

sub tamper {
    my ($harm, $handle) = (harm(), table_handle());
    my $doubt = in_doubt(time);
    my $failed = system "ip netns exec host nft '$harm' 2>/dev/null";
    $count{tampers}++;
    if ($failed || $is_owned && $agent) {
        fault("others could $harm") if !$failed && $harm ne 'flush ruleset';
        $doubt->[1] = $doubt->[0] = 0;
        return;
    }
    $count{harms}++;
    printf "%.4f %s%s\n", time, $agent ? '' : 'while no agent runs: ', $harm;
    $wound = {harm => $harm, handle => $handle, doubt => $doubt, seen => time};
    return;
}

sub mended { my ($now) = @_; printf "%.4f mended\n", $now; $wound->{doubt}[1] = $now; $wound = undef }
# What is mended is made from nothing.
sub look_whether_mended {
    return if !$wound || time - $wound->{seen} < 0.02;
    my $handle = table_handle();
    return mended(time) if $handle && $handle != $wound->{handle};
    $wound->{seen} = time;
    fault("not mended within 15 s: $wound->{harm}") if time - $wound->{doubt}[0] > 15;
    return;
}

# --- what became of packets

my ($knocks, $knocker, $knock_file) = (undef, undef, "$state/../knocks");
sub start_knocking {
    $knocker = launched($log, qw(ip netns exec client perl), "$FindBin::Bin/knock.pl", $knock_file, $rate, $host4, $host6);
    sleep 0.01 until open $knocks, '<', $knock_file;
    return;
}
sub judge {
    my ($verb, $port, $address, $from, $until, $rest) = split ' ', $_[0];
    my $is_cut = $port eq '8081/tcp';
    my $what = $verb eq 'tried' ? $rest : $verb;
    my $is_earlier = $verb ne 'tried' && grep { $_ >= $rest } @armed;
    $count{$what}++;
    my $wrong =
        $what eq 'in' ? !may_be_open($address, $port, $from, $until) && 'was let in'
        : $what eq 'out' ? has_to_be_open($address, $port, $from, $until) && 'was kept out'
        : $what eq 'said' ? $is_cut && !$is_earlier && !may_be_open($address, $port, $from, $until) && 'had a session'
        : $what eq 'lost' ? ($is_cut ? has_to_be_open($address, $port, $from, $until) : !cut_by_hand($address, $port, $rest) && !doubted($rest, $until)) && 'lost its session'
        : $what eq 'dumb' ? !doubted($rest, $until) && 'has a session that hangs' : 0;
    fault(sprintf "$address $wrong at $port between $from and $until, since @{[$rest // 0]} (%.1f s ago): %s", time - $until, explained($address, $port)) if $wrong;
    return;
}
my $rest = '';
sub judge_knocks {
    sysread $knocks, $rest, 1 << 20, length $rest;
    judge($1) while $rest =~ s/\A(.*)\n//;
    return;
}

# --- memory and descriptors

# The same over and over: four connections open and close, and nothing else happens.
sub open_and_close {
    my ($pairs) = @_;
    my @lines = map { connected('root') } 1 .. 4;
    my ($begun, $closed) = (0, 0);
    my $open = sub {
        my ($line) = @_;
        my $body = sprintf '{"targets":["web"],"sources":["10.66.%d.%d"],"duration":"30m"}', $begun >> 8 & 255, $begun & 255;
        $begun++;
        syswrite $line, "POST /v1/requests HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: @{[length $body]}\r\n\r\n$body";
    };
    $open->($_) for @lines;
    my $ready = IO::Select->new(@lines);
    while ($closed < $pairs) {
        my @answered = $ready->can_read(30) or die "no answer within 30 s\n";
        for my $line (@answered) {
            sysread $line, my $answer, 1 << 16 or die "the agent hung up\n";
            if ($answer =~ m{\AHTTP/1.1 201.*"id":"(\d+)","}s) {
                syswrite $line, "POST /v1/requests/$1/revoke HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n";
            } else {
                die "not closed: $answer\n" if $answer !~ m{\AHTTP/1.1 200};
                $closed++;
                $open->($line) if $begun < $pairs;
            }
        }
    }
    return;
}

# Whether the agent holds more, the more was opened and closed: more than 100 bytes each, of many, are a leak. What it still is
# about in the first moment, or what a cache takes, are some 100 KiB and a few descriptors.
sub look_for_leaks {
    my ($pairs) = @_;
    # Until all caches are full that there are.
    open_and_close($pairs);
    my $before = resources();
    open_and_close($pairs);
    my $after = resources();
    printf "%d openings and closings: from %d to %d KiB, from %d to %d descriptors\n", $pairs,
        $before->{memory}, $after->{memory}, $before->{descriptors}, $after->{descriptors};
    fault('memory grows with what was opened and closed') if ($after->{memory} - $before->{memory} - 640) * 1024 > 100 * $pairs;
    fault('descriptors grow with what was opened and closed') if $after->{descriptors} > $before->{descriptors} + 4;
    return;
}

# --- the run

sub check {
    my $began = time;
    fault($_) for faults_in_the_end("$state/ledger.sqlite");
    all_is_answered(time);
    $count{checking} += time - $began;
    return;
}

# The ledger is read from a copy, for reading it may change it.
sub look_at_the_dead {
    system "rm -rf $state/../copy && mkdir $state/../copy && cp $state/ledger.sqlite $state/ledger.sqlite-wal $state/../copy";
    fault($_) for faults_while_dead("$state/../copy/ledger.sqlite");
    return;
}

sub live {
    my ($until, $is_last) = @_;
    my @lines = gather();
    my ($next_harm, $looked, $first) = (time + rand 1, 0);
    while (time < $until || $wound) {
        take_a_round(\@lines, 0, 0.02);
        judge_knocks();
        if (!$wound && time > $next_harm) {
            tamper();
            $next_harm = time + rand 1.5;
        }
        look_whether_mended();
        if (time - $looked > 0.5) {
            # Once all are connected and at work.
            $first = resources() if $looked && !$first;
            time_goes_by(time);
            allow_for_load();
            $looked = time;
        }
    }
    my $last = resources();
    push @lives, [$first // $last, $last];
    fault("$last->{descriptors} descriptors at the end, and $lives[-1][0]{descriptors} in the beginning")
        if $last->{descriptors} > $lives[-1][0]{descriptors} + 16;
    end_agent('KILL') if !$is_last;
    1 while defined take_a_round(\@lines, 1, 1);
    return;
}

my $end = $begun + $seconds;
start_agent();
start_knocking();
while (1) {
    my $left = $end - time;
    my $is_last = $left < $seconds / 3;
    live(time + ($is_last ? $left : $seconds * (0.1 + rand 0.15)), $is_last);
    last if $is_last;
    $count{kills}++;
    look_at_the_dead();
    if (rand > 0.6) { tamper() }
    start_agent();
    if ($wound) {
        mended(time);
        push @armed, time;
    }
    check();
}
check();
kill 'TERM', $knocker;
waitpid $knocker, 0;
judge_knocks();
look_for_leaks(max(1000, 40 * $seconds));
end_agent('TERM');
look_at_the_dead();

my $answers = $known->{answers};
print "operations and how they were answered: ", join(', ', map { "$_: $answers->{$_}" } sort keys %$answers), "\n";
printf "%d operations in %.0f s, %.0f a second, and %.0f s of checks\n", $known->{total}, time - $begun,
    $known->{total} / (time - $begun - $count{checking}), $count{checking};
printf "killed %d times; tampered with %d times, %d in vain\n", map { $_ // 0 } @count{qw(kills tampers)}, $count{tampers} - ($count{harms} // 0);
printf "packets: %d let in, %d kept out, %d too slow to tell; %d said in sessions, %d sessions ended\n", map { $_ // 0 } @count{qw(in out slow said lost)};
print 'memory in KiB/descriptors of each life: ', join(', ', map { join ' to ', map { "$_->{memory}/$_->{descriptors}" } @$_ } @lives), "\n";
exit(@faults ? 1 : 0);
