#!/usr/bin/perl
# Many people at work at once, and whether what they were told is so.
#   storm.pl work FILE OPERATIONS COMMAND...   eight connections of six people, one operation each at a time; after
#                          that many answers runs the command, with operations under way, and ends when each of
#                          these was answered or its connection lost; FILE remembers what was told
#   storm.pl dead FILE LEDGER   while no agent runs: the kernel holds nothing that the ledger, a copy, does not know of,
#                          and nothing of which somebody was told that it has ended
#   storm.pl check FILE LEDGER  the agent, its audit trail, the kernel, the ledger and what was told agree
# What is wrong is printed, a line each, with status 1. With STORM_DISK answers of status 503 are right, too.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use List::Util qw(max shuffle sum0);
use Time::HiRes qw(time sleep);
use Time::Local qw(timegm);

my ($verb, $file, @arguments) = @ARGV;
my $json = JSON::PP->new->canonical;
$SIG{PIPE} = 'IGNORE';

# told: the newest document of each request that was answered; ends: the latest end of each grant; sent: tickets, each
# of one request at most, with the id that was answered; done: how often an operation on a request was done by whom;
# maybe: how often it was sent and not answered; doubt: requests whose ends that leaves open; again: what to repeat.
my $known = -e $file ? $json->decode(slurp($file))
    : {told => {}, ends => {}, sent => {}, done => {}, maybe => {}, doubt => {}, again => [], heads => [], serial => 0, answers => {}};

sub slurp {
    open my $in, '<', $_[0] or die "$_[0]: $!\n";
    local $/;
    return scalar <$in>;
}

# --- people and their connections

my %person = map { my @entry = getpwnam $_; ($_ => {uid => $entry[2], groups => join ' ', $entry[3], split ' ', `id -G $_`}) }
    qw(root alice bob ada carol erin);

# The kernel tells the agent who is in effect when the connection is made.
sub connected {
    my ($name) = @_;
    ($), $>) = ($person{$name}{groups}, $person{$name}{uid});
    my $socket = IO::Socket::UNIX->new(Peer => '/run/sallyport/sallyport.sock');
    ($>, $)) = (0, '0 0');
    return $socket;
}

sub post {
    my ($socket, $method, $path, $body, %header) = @_;
    my $text = defined $body ? $json->encode($body) : '';
    $header{'Content-Type'} = 'application/json' if defined $body;
    my $head = join '', map { "$_: $header{$_}\r\n" } sort keys %header;
    return defined syswrite $socket, "$method $path HTTP/1.1\r\nHost: sallyport\r\nContent-Length: @{[length $text]}\r\n$head\r\n$text";
}

# The answer, once all of it is there: its status and document; nothing as long as it is not.
sub answer {
    my ($buffer) = @_;
    my ($status, $head, $rest) = $buffer =~ m{\AHTTP/1\.1 (\d+)(.*?)\r\n\r\n(.*)\z}s or return;
    my ($length) = $head =~ /content-length: (\d+)/i or die "an answer without length: $head\n";
    return if length $rest < $length;
    return ($status, $length ? $json->decode($rest) : undef);
}

sub get {
    my ($path) = @_;
    my $socket = connected('root') or die "cannot connect: $!\n";
    post($socket, 'GET', $path) or die "GET $path: $!\n";
    my $buffer = '';
    while (sysread $socket, $buffer, 1 << 16, length $buffer) {
        my ($status, $document) = answer($buffer) or next;
        die "GET $path: $status $document->{detail}\n" if $status != 200;
        return $document;
    }
    die "GET $path: no answer\n";
}

# All of what comes in pages.
sub pages {
    my ($path, $list) = @_;
    my ($next, @all) = ('');
    while (defined $next) {
        my $page = get($path . ($next && "&before=$next"));
        push @all, @{$page->{$list}};
        $next = $page->{next};
    }
    return @all;
}

# --- what people do; each returns what to send, or nothing where there is nothing to do it to

sub stamp {
    my ($seconds) = @_;
    my ($s, $m, $h, $day, $month, $year) = gmtime $seconds;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $year + 1900, $month + 1, $day, $h, $m, $s;
}
sub one_of { $_[rand @_] }
sub told { my ($test) = @_; one_of(grep { local $_ = $_; $test->() } values %{$known->{told}}) }
sub about {
    my ($who, $word, $request, $body) = @_;
    return unless $request;
    return {who => $who, kind => $word, request => $request->{id}, extends => $request->{extends}, method => 'POST',
        path => "/v1/requests/$request->{id}/$word", body => $body};
}
sub mine { $_->{requester}{name} eq $_[0] }
sub waits { $_->{state} =~ /pending|scheduled/ }
sub live { $_->{state} eq 'active' && !defined $_->{extends} }

my %act = (
    open => sub {
        my ($who) = @_;
        my $number = ++$known->{serial};
        my $ticket = "T$number";
        # Some ask for the same again, which ends what they had.
        my @sources = map { my $n = rand > 0.2 ? $number : 1 + int rand $number; "10.$_." . ($n >> 8) . '.' . ($n & 255) } 0 .. int rand 2;
        $known->{sent}{$ticket} = 0;
        return {who => $who, kind => 'open', ticket => $ticket, method => 'POST', path => '/v1/requests',
            header => {'Idempotency-Key' => $ticket},
            body => {targets => one_of(['web'], ['web'], ['data'], ['vault'], ['web', 'vault']), sources => \@sources, ticket => $ticket,
                duration => one_of('2s', ('50m') x 6), (rand > 0.2 ? () : (at => stamp(time + 1 + rand 3)))}};
    },
    approve => sub {
        my ($who) = @_;
        my $request = told(sub { $_->{state} eq 'pending' && !mine($who) }) or return;
        return about($who, 'approve', $request, one_of({}, {}, {duration => '40m'}, {revision => $request->{revision}}));
    },
    approve_own => sub { my ($who) = @_; about($who, 'approve', told(sub { $_->{state} eq 'pending' && mine($who) }), {}) },
    deny => sub { my ($who) = @_; about($who, 'deny', told(\&waits), {reason => 'not today'}) },
    cancel => sub { my ($who) = @_; about($who, 'cancel', told(sub { waits() && mine($who) })) },
    revoke => sub { my ($who) = @_; about($who, 'revoke', told(sub { live() && ($who eq 'ada' || mine($who)) })) },
    extend => sub {
        my ($who) = @_;
        my $act = about($who, 'extend', told(sub { live() && mine($who) }), {duration => '1m'}) or return;
        $act->{ticket} = $act->{body}{ticket} = 'T' . ++$known->{serial};
        $known->{sent}{$act->{ticket}} = 0;
        return $act;
    },
    reload => sub { {who => $_[0], kind => 'reload', method => 'POST', path => '/v1/policies/reload'} },
    put => sub {
        my $number = ++$known->{serial};
        return {who => $_[0], kind => 'put', number => $number, method => 'PUT', path => '/v1/policies/spare',
            body => {ports => ['9005/tcp'], description => "number $number"}};
    },
    head => sub { {who => $_[0], kind => 'head', method => 'GET', path => '/v1/audit/verify'} },
);
my @ask = qw(open open open open open cancel extend extend revoke approve_own);
my %habit = (alice => \@ask, bob => \@ask, carol => [('approve') x 8, 'deny'], erin => [('approve') x 9],
    ada => [qw(approve approve approve deny revoke revoke reload put open approve_own)], root => [qw(open head)]);

# --- what comes of it

sub rank { {pending => 0, scheduled => 1, active => 2}->{$_[0]} // 3 }

sub learn {
    my ($request) = @_;
    my $old = $known->{told}{$request->{id}};
    # Answers on different connections may overtake one another.
    $known->{told}{$request->{id}} = $request if !$old || rank($request->{state}) > rank($old->{state})
        || rank($request->{state}) == rank($old->{state}) && $request->{revision} >= $old->{revision};
    for my $grant (grep { $_->{expiresAt} } @{$request->{grants}}) {
        my $end = \$known->{ends}{$grant->{id}};
        $$end = $grant->{expiresAt} if !$$end || moment($grant->{expiresAt}) > moment($$end);
    }
}

sub moment {
    my ($year, $month, $day, $h, $m, $s) = $_[0] =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z/ or die "no time: $_[0]\n";
    return timegm(0, $m, $h, $day, $month - 1, $year) + $s;
}

my %event = (approve => 'approved', deny => 'denied', cancel => 'cancelled');
sub key { my ($act) = @_; "$event{$act->{kind}} $act->{request} unix:$person{$act->{who}}{uid}" }

sub happened {
    my ($act, $status, $document) = @_;
    $known->{answers}{"$act->{kind} $status"}++;
    my $may = $status < 300 || $status =~ /^(?:403|404|409|422|429)$/ || $status == 503 && $ENV{STORM_DISK};
    die "$act->{kind} by $act->{who} was answered $status: $document->{detail}\n" unless $may;
    die "$act->{who} approved the own request $act->{request}\n"
        if $act->{kind} eq 'approve' && $status < 300 && $document->{requester}{name} eq $act->{who};
    if ($status >= 300) {
        # Where SQLite has no room for the index of its log, a start may find what it had put into the log.
        lost($act) if $status == 503;
        return;
    }
    push @{$known->{heads}}, $document->{head} if $act->{kind} eq 'head';
    $known->{put} = $act->{number} if $act->{kind} eq 'put';
    $known->{done}{key($act)}++ if $event{$act->{kind}};
    learn($document) if $document->{revision};
    $known->{sent}{$act->{ticket}} = $document->{id}
        if $act->{ticket} && ($act->{kind} eq 'open' || $document->{extends});
}

sub lost {
    my ($act) = @_;
    push @{$known->{again}}, $act if $act->{kind} eq 'open';
    $known->{maybe}{key($act)}++ if $event{$act->{kind}};
    $known->{doubt}{$_} = 1 for grep { defined } @{$act}{qw(request extends number)};
}

sub remember {
    open my $out, '>', $file or die "$file: $!\n";
    print $out $json->encode($known);
    close $out or die "$file: $!\n";
}

sub work {
    my ($operations, @command) = @_;
    my @lines = map { {who => $_, socket => connected($_), buffer => ''} } qw(alice alice bob bob ada carol erin root);
    my ($answers, $over) = (0, 0);
    while (my @open = grep { $_->{socket} } @lines) {
        for my $line (shuffle grep { !$_->{act} } @open) {
            if ($over) { $line->{socket} = undef; next }
            my ($again) = grep { $_->{who} eq $line->{who} } @{$known->{again}};
            $known->{again} = [grep { $_ != $again } @{$known->{again}}] if $again;
            my $act = $again // $act{one_of(@{$habit{$line->{who}}})}->($line->{who});
            $act //= {who => $line->{who}, kind => 'look', method => 'GET', path => '/v1/status'};
            $line->{act} = $act;
            post($line->{socket}, @{$act}{qw(method path body)}, %{$act->{header} // {}});
        }
        if (!$over && $answers >= $operations) {
            $over = 1;
            system(@command) == 0 or die "@command failed\n";
        }
        my %by = map { fileno $_->{socket} => $_ } grep { $_->{socket} } @lines or last;
        my @ready = IO::Select->new(map { $_->{socket} } values %by)->can_read(30) or die "no answer within 30 s\n";
        for my $line (map { $by{fileno $_} } @ready) {
            if (sysread $line->{socket}, $line->{buffer}, 1 << 16, length $line->{buffer}) {
                my ($status, $document) = answer($line->{buffer}) or next;
                happened($line->{act}, $status, $document);
                ($line->{act}, $line->{buffer}) = (undef, '');
                $answers++;
            } else {
                lost($line->{act}) if $line->{act};
                $line->{socket} = undef;
                die "the agent hung up\n" unless $over;
            }
        }
    }
    $known->{total} += $answers;
    remember();
    print "$answers answers, $known->{total} in all, ", scalar @{$known->{again}}, " to repeat\n";
    return;
}

# --- whether it is so

# What the kernel lets in, by source and port: the grant that the element names, and until when. Not as JSON: nft 1.0.6 ends amid
# it at a table flag that it does not know.
sub kernel {
    my %open;
    my $now = time;
    my $listing = `ip netns exec host nft list table inet sallyport`;
    die "nft ended with $?\n" if $?;
    my %seconds = (d => 86400, h => 3600, m => 60, s => 1, ms => 0.001);
    while ($listing =~ /set grants\d_(\d+) \{(.*?)\n\t\}/gs) {
        my ($length, $set) = ($1, $2);
        while ($set =~ /([\da-f.:]+) \. (\w+) \. (\d+) [^,]*? expires (\w+) comment "(\S+)/g) {
            my ($element, $expires, $grant) = ("$1/$length $3/$2", $4, $5);
            $open{$element} = {grant => $grant, until => $now + sum0(map { /(\d+)(\D+)/; $1 * $seconds{$2} } $expires =~ /\d+\D+/g)};
        }
    }
    return \%open;
}

sub ledger {
    my ($ledger, $where) = @_;
    my @rows = `sqlite3 -separator ' ' '$ledger' "SELECT request || '.' || ordinal, source, port FROM grants WHERE $where"`;
    die "cannot read $ledger\n" if $?;
    return map { /^(\S+) (.*)$/ ? ($1 => $2) : () } @rows;
}

sub dead {
    my ($ledger) = @_;
    my %recorded = ledger($ledger, 'true');
    my $open = kernel();
    my @faults;
    for my $element (sort keys %$open) {
        my $grant = $open->{$element}{grant};
        push @faults, "$element is open, and the ledger has no grant $grant for it" if ($recorded{$grant} // '') ne $element;
        my ($told) = grep { $_->{id} eq $grant } map { @{$_->{grants}} } @{$known->{told}}{$grant =~ /^(\d+)/} || ();
        push @faults, "$element is open, and grant $grant was told to be $told->{state}" if $told && $told->{state} =~ /expired|revoked|superseded|failed/;
    }
    print scalar keys %$open, " elements in the kernel\n";
    return @faults;
}

# The state of grants as the audit trail tells it, and what in it breaks the rules of approvals.
sub trail {
    my (%live, %agreed, %count, %asked, @faults);
    for my $row (reverse pages('/v1/audit?limit=1000', 'events')) {
        my ($kind, $request) = @{$row}{qw(event request)};
        $count{"$kind $request $row->{subject}"}++ if $kind =~ /^(?:approved|denied|cancelled)$/ && $row->{subject};
        $agreed{$request}{$row->{subject}} = 1 if $kind eq 'approved' && $row->{subject} ne ($row->{requester} // $row->{subject});
        $asked{$row->{ticket}} = $request if $kind eq 'requested' && $row->{ticket};
        if ($kind =~ /^(?:opened|extended)$/ && $row->{policy} eq 'vault') {
            my $by = $kind eq 'opened' ? $request : $asked{$row->{ticket}} // 'none';
            push @faults, "event $row->{sequence}: $row->{grant} $kind without two approvals" if keys %{$agreed{$by}} < 2;
        }
        $live{$row->{grant}} = "$row->{source} $row->{port}" if $kind eq 'opened';
        push @faults, "event $row->{sequence}: $row->{grant} ended twice" if $kind eq 'ended' && !delete $live{$row->{grant}};
    }
    return (\%live, \%count, \@faults);
}

sub differences {
    my ($what, $have, $wanted) = @_;
    return map { "$_: $what has " . ($have->{$_} // 'nothing') . ', and the agent ' . ($wanted->{$_} // 'nothing') }
        grep { ($have->{$_} // '') ne ($wanted->{$_} // '') } sort keys %{{%$have, %$wanted}};
}

sub disagreements {
    my ($ledger) = @_;
    my @grants = pages('/v1/grants?all=false', 'grants');
    my %request = map { $_->{id} => $_ } pages('/v1/requests?limit=1000', 'requests');
    my ($live, $count, $faults) = trail();
    my @faults = @$faults;
    my %live = map { $_->{id} => "$_->{source} $_->{port}" } @grants;
    push @faults, differences('the audit trail', $live, \%live);
    push @faults, differences('the ledger', {ledger($ledger, "state = 'active'")}, \%live);

    my $open = kernel();
    my %until;
    for my $grant (@grants) {
        my $end = \$until{"$grant->{source} $grant->{port}"};
        $$end = max($$end // 0, moment($grant->{expiresAt}));
    }
    for my $element (sort keys %{{%$open, %until}}) {
        my ($is, $said) = map { $_ // 0 } $open->{$element}{until}, $until{$element};
        push @faults, "$element: open in the kernel until $is, and until $said as the agent says" if abs($is - $said) > 1;
    }

    for my $told (sort { $a->{id} <=> $b->{id} } values %{$known->{told}}) {
        my $now = $request{$told->{id}};
        if (!$now) { push @faults, "request $told->{id} was told to be $told->{state}, and is not there"; next }
        my $fault = "request $told->{id} was told to be $told->{state}, and is $now->{state}";
        push @faults, $fault if rank($now->{state}) < rank($told->{state})
            || rank($told->{state}) == 3 && $now->{state} ne $told->{state}
            || $told->{state} eq 'active' && $now->{state} =~ /denied|cancelled|lapsed/;
        push @faults, "$fault with fewer approvals" if @{$now->{approvals}} < @{$told->{approvals}};
        push @faults, "$fault, after its start" if $now->{state} eq 'scheduled' && moment($now->{startsAt}) < time - 2;
    }
    for my $grant (grep { !$known->{doubt}{$_->{request}} && $known->{ends}{$_->{id}} } @grants) {
        push @faults, "$grant->{id} was told to end at $known->{ends}{$grant->{id}}, and ends at $grant->{expiresAt}"
            if $grant->{expiresAt} ne $known->{ends}{$grant->{id}};
    }
    my %tickets;
    push @{$tickets{$_->{ticket}}}, $_->{id} for grep { $_->{ticket} } values %request;
    for my $ticket (sort keys %tickets) {
        push @faults, "ticket $ticket was asked for once, and has requests @{$tickets{$ticket}}"
            if @{$tickets{$ticket}} > 1 || !defined $known->{sent}{$ticket};
        my $told = $known->{sent}{$ticket};
        push @faults, "ticket $ticket was told to be request $told, and is @{$tickets{$ticket}}" if $told && $told ne $tickets{$ticket}[0];
    }
    for my $key (sort keys %{{%{$known->{done}}, %$count}}) {
        my ($rows, $done) = ($count->{$key} // 0, $known->{done}{$key} // 0);
        # An extension is cancelled with what it extends.
        next if !$done && $key =~ /^cancelled (\d+)/ && $request{$1}{extends};
        push @faults, "$key: answered $done times, and $rows times in the audit trail"
            if $rows < $done || $rows > $done + ($known->{maybe}{$key} // 0);
    }
    for my $head (splice @{[reverse @{$known->{heads}}]}, 0, 3) {
        my $found = get("/v1/audit/verify?head=$head");
        push @faults, map { "the audit trail: event $_->{sequence} $_->{message}" } @{$found->{faults}};
    }
    push @faults, 'not configured by the files' if get('/v1/status')->{agent}{configuration} ne 'files';
    if (my $told = $known->{put}) {
        my ($number) = get('/v1/policies/spare')->{description} =~ /(\d+)/;
        push @faults, "the policy was told to be number $told, and is $number" if $number != $told && !$known->{doubt}{$number};
    }
    # What was in doubt no longer is.
    if (!@faults) {
        learn($_) for values %request;
        @{$known->{done}}{keys %$count} = values %$count;
        $known->{maybe} = {};
        delete @{$known->{doubt}}{keys %request};
        print scalar keys %request, ' requests, ', scalar @grants, ' live grants, ', scalar keys %$open, " elements agree\n";
    }
    return @faults;
}

# What is on the move, a start or an end, needs a moment.
sub check {
    my ($ledger) = @_;
    my $end = time + 15;
    my @faults;
    while ((@faults = disagreements($ledger)) && time < $end) { sleep 0.2 }
    remember();
    return @faults;
}

my @faults = {work => \&work, dead => \&dead, check => \&check}->{$verb}->(@arguments);
print "$_\n" for @faults;
exit(@faults ? 1 : 0);
