package Storm::Elements;
# Who may be let in when, and who has to be, as far as people know: what packets are held against.
#
# Each grant has two spans of time: from the moment when it may have opened to the one when it surely has ended, and within
# that the one in which it surely is open. Who is let in needs a grant that may be open; who is not, none that surely is.
use strict;
use warnings;
use Exporter 'import';
use List::Util qw(max min);
use Socket qw(AF_INET AF_INET6 inet_ntop inet_pton);
use Storm::Model;

our @EXPORT = qw(allow_for_load begins comes_of tells all_is_answered in_doubt doubted explained may_be_open has_to_be_open cut_by_hand);

# How much earlier than promised elements may end, and how much later. What is made ready waits for the disk (50 ms), the kernel
# counts jiffies; and between the reading of the clock and the commit the agent may have to wait for the processor.
our ($early, $late);
sub allow_for_load {
    open my $in, '<', '/proc/loadavg' or die "/proc/loadavg: $!\n";
    my ($load) = split ' ', <$in>;
    ($early, $late) = (0.15 + 0.05 * $load, 0.02 * (1 + $load));
    return;
}
allow_for_load();
use constant FOR_EVER => 9e9;

# By element, `10.1.0.3/32 8080/tcp`, then by grant: {may => [from, until], must => [from, until]}.
my %spans;
# Acts under way on requests, or lost, that may open or prolong, or end what they opened.
my (%opening, %ending);
# When something else may have been true: [from, until].
my @doubts;
# Until when somebody cut the sessions of an element.
my %cut;

my %port = (web => ['8080/tcp'], desk => ['8081/tcp'], data => ['7000/udp'], vault => ['9000/tcp', '9001/udp']);

sub elements_asked_for {
    my ($body) = @_;
    my @ports = map { @{$port{$_}} } @{$body->{targets}};
    return map { my $source = /\// ? $_ : $_ . (/:/ ? '/128' : '/32'); map { "$source $_" } @ports } @{$body->{sources}};
}
sub element { my ($grant) = @_; "$grant->{source} $grant->{port}" }
sub grants_of { my ($id) = @_; my $request = $known->{told}{$id}; $request ? @{$request->{grants}} : () }
sub span { my ($grant) = @_; $spans{element($grant)}{$grant->{id}} //= {may => [FOR_EVER, 0], must => [FOR_EVER, 0], who => ''} }

# Something is being asked of the agent at a moment.
sub begins {
    my ($act, $now) = @_;
    if ($act->{kind} eq 'open') {
        for my $element (elements_asked_for($act->{body})) {
            $spans{$element}{$act->{ticket}} //= {may => [$now, FOR_EVER], must => [FOR_EVER, 0], who => $act->{who}};
        }
    } elsif ($act->{kind} eq 'approve') {
        for my $id (grep { defined } @{$act}{qw(request extends)}) {
            $opening{$id}++;
            for my $span (map { span($_) } grants_of($id)) { $span->{may} = [min($span->{may}[0], $now), FOR_EVER] }
        }
    } elsif ($act->{kind} eq 'extend') {
        $opening{$act->{request}}++;
        $_->{may}[1] = FOR_EVER for grep { $_->{may}[1] > $now } map { span($_) } grants_of($act->{request});
    } elsif ($act->{kind} eq 'revoke') {
        $ending{$act->{request}}++;
        for my $grant (grants_of($act->{request})) {
            my $span = span($grant);
            $span->{must}[1] = min($span->{must}[1], $now);
            $cut{element($grant)} = FOR_EVER if $act->{body} && $act->{body}{cut};
        }
    }
    return;
}

# It was answered, and people know what it says.
sub comes_of {
    my ($act, $now, $document) = @_;
    if ($act->{kind} eq 'open') {
        delete $spans{$_}{$act->{ticket}} for elements_asked_for($act->{body});
    } elsif ($act->{kind} eq 'revoke') {
        $ending{$act->{request}}--;
        if ($act->{body} && $act->{body}{cut}) { $cut{element($_)} = $now for grants_of($act->{request}) }
    } elsif ($act->{kind} =~ /approve|extend/) {
        $opening{$_}-- for grep { defined } $act->{request}, $act->{kind} eq 'approve' ? $act->{extends} : ();
    }
    # What was refused left all as it was told.
    for my $id (grep { defined } @{$act}{qw(request extends)}, $document && $document->{id}) {
        tells($known->{told}{$id}, $now) if $known->{told}{$id};
    }
    return;
}

# A request, as it was told at a moment.
sub tells {
    my ($request, $now) = @_;
    my $id = $request->{id};
    for my $grant (@{$request->{grants}}) {
        my $span = span($grant);
        $span->{who} = $request->{requester}{name};
        my $end = $known->{ends}{$grant->{id}} // $grant->{expiresAt};
        if ($grant->{state} eq 'active') {
            $span->{may}[0] = min($span->{may}[0], moment($grant->{startsAt}) - 0.002);
            $span->{may}[1] = $opening{$id} ? FOR_EVER : moment($end) + $late if $span->{may}[1] == 0 || $span->{may}[1] > $now;
            $span->{started} = $grant->{startsAt};
            supersede($grant, $span, $now);
            next if $ending{$id} || $span->{may}[1] <= $now;
            $span->{must}[0] = $now if $span->{must}[1] <= $now;
            $span->{must}[1] = min(moment($end), $opening{$id} ? moment($grant->{expiresAt}) : FOR_EVER) - $early;
        } elsif ($grant->{state} eq 'scheduled') {
            $span->{may} = [moment($grant->{startsAt} // $request->{startsAt}) - 0.002, FOR_EVER];
        } elsif ($grant->{state} eq 'pending') {
            $span->{may}[1] = $now if !$opening{$id};
        } else {
            $span->{$_}[1] = min($span->{$_}[1], $now) for qw(may must);
        }
    }
    return;
}

# Of grants of the same person for the same element the one that opened last is left.
sub supersede {
    my ($grant, $span, $now) = @_;
    for my $other (grep { $_ != $span && $_->{who} eq $span->{who} && $_->{started} } values %{$spans{element($grant)}}) {
        my ($older) = $other->{started} lt $span->{started} ? $other : $other->{started} gt $span->{started} ? $span : next;
        $older->{$_}[1] = min($older->{$_}[1], $now) for qw(may must);
    }
    return;
}

# After a check nothing is under way, and everything was told.
sub all_is_answered {
    my ($now) = @_;
    (%opening, %ending) = ();
    $_ = min($_, $now) for values %cut;
    for my $element (keys %spans) {
        my $grants = $spans{$element};
        for my $id (keys %$grants) {
            my $span = $grants->{$id};
            my ($request) = split /\./, $id;
            my $is_live = $known->{unfinished}{$request};
            if (!$is_live) {
                # Where nobody was told of the end, it may have been at any moment.
                $span->{must}[1] = $span->{must}[0] if $span->{must}[1] > $now;
                $span->{may}[1] = min($span->{may}[1], $now);
            }
            delete $grants->{$id} if $span->{may}[1] < $now - 60;
        }
        delete $spans{$element} if !%$grants;
    }
    tells($_, $now) for unfinished();
    return;
}

# From a moment on anything may be let in, or not, until the second of what it answers is set.
sub in_doubt { my ($from) = @_; push @doubts, [$from, FOR_EVER]; return $doubts[-1] }

# The elements that would let an address in.
my %covering;
sub elements_for {
    my ($address, $port) = @_;
    my $ranges = $covering{$address} //= do {
        my $family = $address =~ /:/ ? AF_INET6 : AF_INET;
        my $bits = unpack 'B*', inet_pton($family, $address);
        [map { my $kept = substr $bits, 0, $_; inet_ntop($family, pack 'B*', $kept . '0' x (length($bits) - $_)) . "/$_" }
            $family == AF_INET ? (32, 28, 24) : (128, 112, 64)];
    };
    return map { "$_ $port" } @$ranges;
}

sub doubted { my ($from, $until) = @_; scalar grep { $_->[0] <= $until && $_->[1] >= $from } @doubts }

# Whether somebody may be let in at a moment within a span of time.
sub may_be_open {
    my ($address, $port, $from, $until) = @_;
    return 1 if doubted($from, $until);
    for my $grants (map { $spans{$_} // () } elements_for($address, $port)) {
        for my $span (values %$grants) { return 1 if $span->{may}[0] <= $until && $span->{may}[1] >= $from }
    }
    return 0;
}

# Whether somebody has to be let in all the time.
sub has_to_be_open {
    my ($address, $port, $from, $until) = @_;
    return 0 if doubted($from, $until);
    for my $grants (map { $spans{$_} // () } elements_for($address, $port)) {
        for my $span (grep { $_->{must}[0] <= $from && $_->{must}[1] >= $until } values %$grants) {
            # One that the same person asked for later may have ended it.
            return 1 if !grep { $_ != $span && $_->{who} eq $span->{who} && $_->{may}[0] > $span->{may}[0] && $_->{may}[0] <= $until
                && $_->{may}[1] > $_->{may}[0] } values %$grants;
        }
    }
    return 0;
}

# Whether somebody asked since for the end of the sessions that an element lets in.
sub cut_by_hand {
    my ($address, $port, $since) = @_;
    return scalar grep { ($cut{$_} // 0) >= $since } elements_for($address, $port);
}

# What is known of who may be let in, for the one who wonders.
sub explained {
    my ($address, $port) = @_;
    return join '; ', map { my $element = $_; my $grants = $spans{$element} // {};
        map { sprintf "%s %s may %.3f-%.3f must %.3f-%.3f", $element, $_, @{$grants->{$_}{may}}, @{$grants->{$_}{must}} } sort keys %$grants }
        elements_for($address, $port);
}

1;
