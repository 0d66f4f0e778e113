package Storm::Agreement;
# Whether kernel, ledger, audit trail, the agent's answers and what people were told agree.
use strict;
use warnings;
use Exporter 'import';
use List::Util qw(max sum0);
use Time::HiRes qw(time sleep);
use Storm::Model;
use Storm::People;

our @EXPORT = qw(kernel faults_while_dead faults_in_the_end);

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

# While no agent runs: the kernel holds nothing that the ledger, a copy, does not know of, and nothing of which somebody was told
# that it has ended.
sub faults_while_dead {
    my ($ledger) = @_;
    my %recorded = ledger($ledger, 'true');
    # An element names one of those that hold it open, and goes on doing so if another has the same end.
    my %is_held = map { $_ => 1 } values %{{ledger($ledger, "state = 'active'")}};
    my $open = kernel();
    my @faults;
    for my $element (sort keys %$open) {
        my $grant = $open->{$element}{grant};
        push @faults, "$element is open, and the ledger has no grant $grant for it" if ($recorded{$grant} // '') ne $element;
        push @faults, "$element is open, and grant $grant was told to be $known->{over}{$grant}" if $known->{over}{$grant} && !$is_held{$element};
    }
    print scalar keys %$open, " elements in the kernel\n";
    return @faults;
}

# Reads on in the audit trail: the state of grants as it tells it, and what in it breaks the rules of approvals.
sub follow_trail {
    my $trail = $known->{checked};
    my ($live, $agreed, $count, $asked) = @{$trail}{qw(live agreed count asked)};
    my $is_known = sub { $_[0]{sequence} <= $trail->{event} };
    for my $row (reverse pages('/v1/audit?limit=1000', 'events', $is_known)) {
        my ($kind, $request) = @{$row}{qw(event request)};
        push @{$trail->{faults}}, "event $row->{sequence} after event $trail->{event}" if $row->{sequence} != $trail->{event} + 1;
        $trail->{event} = $row->{sequence};
        $count->{"$kind $request $row->{subject}"}++ if $kind =~ /^(?:approved|denied|cancelled)$/ && $row->{subject};
        $agreed->{$request}{$row->{subject}} = 1 if $kind eq 'approved' && $row->{subject} ne ($row->{requester} // $row->{subject});
        $asked->{$row->{ticket}} = $request if $kind eq 'requested' && $row->{ticket};
        if ($kind =~ /^(?:opened|extended)$/ && $row->{policy} eq 'vault') {
            my $by = $kind eq 'opened' ? $request : $asked->{$row->{ticket}} // 'none';
            push @{$trail->{faults}}, "event $row->{sequence}: $row->{grant} $kind without two approvals" if keys %{$agreed->{$by}} < 2;
        }
        $live->{$row->{grant}} = "$row->{source} $row->{port}" if $kind eq 'opened';
        push @{$trail->{faults}}, "event $row->{sequence}: $row->{grant} ended twice" if $kind eq 'ended' && !delete $live->{$row->{grant}};
    }
    return ($live, $count, @{$trail->{faults}});
}

sub element { my ($grant) = @_; "$grant->{source} $grant->{port}" }

sub differences {
    my ($what, $have, $wanted, $moving) = @_;
    return map { "$_: $what has " . ($have->{$_} // 'nothing') . ', and the agent ' . ($wanted->{$_} // 'nothing') }
        grep { !$moving->{$_} && ($have->{$_} // '') ne ($wanted->{$_} // '') } sort keys %{{%$have, %$wanted}};
}

sub faults_of_elements {
    my ($open, $grants, $moving) = @_;
    my (%until, @faults);
    for my $grant (values %$grants) {
        my $end = \$until{element($grant)};
        $$end = max($$end // 0, moment($grant->{expiresAt}));
    }
    for my $element (grep { !$moving->{$_} } sort keys %{{%$open, %until}}) {
        my ($is, $said) = map { $_ // 0 } $open->{$element}{until}, $until{$element};
        push @faults, "$element: open in the kernel until $is, and until $said as the agent says" if abs($is - $said) > 1;
    }
    return @faults;
}

# What became of what people were told, by what the requests were after a moment.
sub faults_of_requests {
    my ($request, $moment) = @_;
    my @faults;
    for my $told (sort { $a->{id} <=> $b->{id} } values %{$known->{told}}) {
        my $now = $request->{$told->{id}};
        if (!$now) { push @faults, "request $told->{id} was told to be $told->{state}, and is not there"; next }
        my $fault = "request $told->{id} was told to be $told->{state}, and is $now->{state}";
        push @faults, $fault if rank($now->{state}) < rank($told->{state})
            || rank($told->{state}) == 3 && $now->{state} ne $told->{state}
            || $told->{state} eq 'active' && $now->{state} =~ /denied|cancelled|lapsed/;
        push @faults, "$fault with fewer approvals" if @{$now->{approvals}} < @{$told->{approvals}};
        push @faults, "$fault, after its start" if $now->{state} eq 'scheduled' && moment($now->{startsAt}) < $moment - 2;
    }
    return @faults;
}

# Whether each was made once, and is what was answered.
sub faults_of_tickets {
    my ($request) = @_;
    my (%tickets, @faults);
    push @{$tickets{$_->{ticket}}}, $_->{id} for grep { $_->{ticket} } values %$request;
    for my $ticket (sort keys %tickets) {
        push @faults, "ticket $ticket was asked for once, and has requests @{$tickets{$ticket}}"
            if @{$tickets{$ticket}} > 1 || !defined $known->{sent}{$ticket};
        my $told = $known->{sent}{$ticket};
        push @faults, "ticket $ticket was told to be request $told, and is @{$tickets{$ticket}}" if $told && $told ne $tickets{$ticket}[0];
    }
    return @faults;
}

sub faults_of_answers {
    my ($count, $request) = @_;
    my @faults;
    for my $key (sort keys %{{%{$known->{done}}, %$count}}) {
        my ($rows, $done) = ($count->{$key} // 0, $known->{done}{$key} // 0);
        # An extension is cancelled with what it extends.
        next if !$done && $key =~ /^cancelled (\d+)/ && $request->{$1}{extends};
        push @faults, "$key: answered $done times, and $rows times in the audit trail"
            if $rows < $done || $rows > $done + ($known->{maybe}{$key} // 0);
    }
    return @faults;
}

sub disagreements {
    my ($ledger) = @_;
    my $began = time;
    my $live_now = sub { return map { $_->{id} => $_ } pages('/v1/grants?all=false', 'grants') };
    my %before = $live_now->();
    my $checked = $known->{checked};
    # Up to where all agreed, and of the rest only what had not ended then.
    my @requests = pages('/v1/requests?limit=1000', 'requests', sub { $_[0]{id} <= $checked->{request} });
    my %request = map { $_->{id} => $_ } @requests;
    $request{$_} //= get("/v1/requests/$_") for grep { $_ <= $checked->{request} } keys %{$known->{told}};

    my ($live, $count, @faults) = follow_trail();
    my %recorded = ledger($ledger, "state = 'active'");
    my $open = kernel();
    my %after = $live_now->();
    # What began or ended meanwhile.
    my %moving = map { $_->{id} => 1, element($_) => 1 } grep { !$before{$_->{id}} || !$after{$_->{id}} } values %before, values %after;
    my %live = map { $_ => element($after{$_}) } keys %after;
    push @faults, differences('the audit trail', $live, \%live, \%moving);
    push @faults, differences('the ledger', \%recorded, \%live, \%moving);
    push @faults, faults_of_elements($open, \%after, \%moving);
    push @faults, faults_of_requests(\%request, $began);
    for my $grant (grep { !$known->{doubt}{$_->{request}} && $known->{ends}{$_->{id}} } values %after) {
        push @faults, "$grant->{id} was told to end at $known->{ends}{$grant->{id}}, and ends at $grant->{expiresAt}"
            if $grant->{expiresAt} ne $known->{ends}{$grant->{id}};
    }
    push @faults, map { "$_ was told to be $known->{over}{$_}, and is live" } grep { $known->{over}{$_} } sort keys %before;
    push @faults, faults_of_tickets(\%request);
    push @faults, faults_of_answers($count, \%request);
    for my $head (splice @{[reverse @{$known->{heads}}]}, 0, 3) {
        my $found = get("/v1/audit/verify?head=$head");
        push @faults, map { "the audit trail: event $_->{sequence} $_->{message}" } @{$found->{faults}};
    }
    push @faults, 'not configured by the files' if get('/v1/status')->{agent}{configuration} ne 'files';
    if (my $told = $known->{put}) {
        my ($number) = get('/v1/policies/spare')->{description} =~ /(\d+)/;
        push @faults, "the policy was told to be number $told, and is $number" if $number != $told && !$known->{doubt}{$number};
    }
    return @faults if @faults;

    # What was in doubt no longer is.
    learn($_) for values %request;
    @{$known->{done}}{keys %$count} = values %$count;
    $known->{maybe} = {};
    delete @{$known->{doubt}}{keys %request};
    $checked->{request} = max($checked->{request}, keys %request);
    settle($_) for grep { rank($request{$_}{state}) == 3 } keys %request;
    print scalar keys %request, ' requests, ', scalar keys %after, ' live grants, ', scalar keys %$open, " elements agree\n";
    return;
}

# The agent, its audit trail, the kernel, the ledger and what was told agree. What is on the move, a start or an end, needs a moment.
sub faults_in_the_end {
    my ($ledger) = @_;
    my $end = time + 15;
    my @faults;
    while ((@faults = disagreements($ledger)) && time < $end) { print "$_\n" for map { $_ // () } @faults[0..2]; sleep 0.2 }
    return @faults;
}

1;
