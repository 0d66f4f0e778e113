package Storm::Deeds;
# What people do, each by habit and at random.
use strict;
use warnings;
use Exporter 'import';
use Time::HiRes qw(time);
use Storm::Model;
use Storm::People;

our @EXPORT = qw(deed @workers $targets $sources $durations $enough);

# Who is connected, some of them twice.
our @workers = qw(alice alice bob bob ada carol erin root);
# What an opening asks for: policies, sources (of the opening's number), and for how long.
our $targets = sub { one_of(['web'], ['web'], ['data'], ['vault'], ['web', 'vault']) };
our $sources = sub {
    my ($number) = @_;
    # Some ask for the same again, which ends what they had.
    return map { my $n = rand > 0.2 ? $number : 1 + int rand $number; "10.$_." . ($n >> 8) . '.' . ($n & 255) } 0 .. int rand 2;
};
our $durations = sub { one_of('2s', ('50m') x 6) };
# With so many requests unfinished people rather close than open.
our $enough = 1e9;

sub told { my ($test) = @_; one_of(grep { $test->() } unfinished()) }
sub about {
    my ($who, $word, $request, $body) = @_;
    return unless $request;
    return {who => $who, kind => $word, request => $request->{id}, extends => $request->{extends}, method => 'POST',
        path => "/v1/requests/$request->{id}/$word", body => $body};
}
sub mine { $_->{requester}{name} eq $_[0] }
sub waits { $_->{state} =~ /pending|scheduled/ }
sub live { $_->{state} eq 'active' && !defined $_->{extends} }
sub new_ticket {
    my $ticket = 'T' . ++$known->{serial};
    $known->{sent}{$ticket} = 0;
    return $ticket;
}

# Each returns what to send, or nothing where there is nothing to do it to.
my %act = (
    open => sub {
        my ($who) = @_;
        my $ticket = new_ticket();
        return {who => $who, kind => 'open', ticket => $ticket, method => 'POST', path => '/v1/requests',
            header => {'Idempotency-Key' => $ticket},
            body => {targets => $targets->(), sources => [$sources->($known->{serial})], ticket => $ticket,
                duration => $durations->(), (rand > 0.2 ? () : (at => stamp(time + 1 + rand 3)))}};
    },
    approve => sub {
        my ($who) = @_;
        my $request = told(sub { $_->{state} eq 'pending' && !mine($who) }) or return;
        return about($who, 'approve', $request, one_of({}, {}, {duration => '40m'}, {revision => $request->{revision}}));
    },
    approve_own => sub { my ($who) = @_; about($who, 'approve', told(sub { $_->{state} eq 'pending' && mine($who) }), {}) },
    deny => sub { my ($who) = @_; about($who, 'deny', told(\&waits), {reason => 'not today'}) },
    cancel => sub { my ($who) = @_; about($who, 'cancel', told(sub { waits() && mine($who) })) },
    revoke => sub {
        my ($who) = @_;
        return about($who, 'revoke', told(sub { live() && ($who eq 'ada' || mine($who)) }), one_of(undef, undef, {cut => JSON::PP::true}));
    },
    extend => sub {
        my ($who) = @_;
        my $act = about($who, 'extend', told(sub { live() && mine($who) }), {duration => one_of('1m', '2s')}) or return;
        $act->{ticket} = $act->{body}{ticket} = new_ticket();
        return $act;
    },
    reload => sub { {who => $_[0], kind => 'reload', method => 'POST', path => '/v1/policies/reload'} },
    # The managed ports change with it.
    put => sub {
        my $number = ++$known->{serial};
        return {who => $_[0], kind => 'put', number => $number, method => 'PUT', path => '/v1/policies/spare',
            body => {ports => one_of(['9005/tcp'], ['9005/tcp', '9006/any']), description => "number $number"}};
    },
    head => sub { {who => $_[0], kind => 'head', method => 'GET', path => '/v1/audit/verify'} },
    look => sub { {who => $_[0], kind => 'look', method => 'GET', path => '/v1/status'} },
);
my @ask = qw(open open open open open cancel extend extend revoke approve_own);
my %habit = (alice => \@ask, bob => \@ask, carol => [('approve') x 8, 'deny'], erin => [('approve') x 9],
    ada => [qw(approve approve approve deny revoke revoke reload put open approve_own)], root => [('open') x 9, 'head']);

# What somebody does next.
sub deed {
    my ($who) = @_;
    my ($again) = grep { $_->{who} eq $who } @{$known->{again}};
    if ($again) {
        $known->{again} = [grep { $_ != $again } @{$known->{again}}];
        return $again;
    }
    my $kind = one_of(@{$habit{$who}});
    $kind = one_of('revoke', 'look') if $kind eq 'open' && keys %{$known->{unfinished}} > $enough;
    return $act{$kind}->($who) // $act{look}->($who);
}

1;
