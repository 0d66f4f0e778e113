package Storm::Model;
# What people were told, and so what has to be.
use strict;
use warnings;
use Exporter 'import';
use Time::Local qw(timegm);
use Storm::People;

our @EXPORT = qw($known remember recall one_of learn settle happened lost time_goes_by unfinished rank moment stamp);

# told: the newest document of each request that was answered; unfinished: those of them that have not ended; over: grants
# that were told to have ended; ends: the latest end of each grant; sent: tickets, each of one request at most, with the id
# that was answered; done: how often an operation on a request was done by whom; maybe: how often it was sent and not
# answered; doubt: requests whose ends that leaves open; again: what to repeat; checked: up to which request and event all
# was found to agree, and what the events before that tell.
our $known = {
    told => {}, unfinished => {}, over => {}, ends => {}, sent => {}, done => {}, maybe => {}, doubt => {}, again => [],
    heads => [], serial => 0, answers => {}, total => 0,
    checked => {request => 0, event => 0, live => {}, count => {}, agreed => {}, asked => {}, faults => []},
};

sub recall {
    my ($file) = @_;
    open my $in, '<', $file or return;
    local $/;
    $known = $json->decode(scalar <$in>);
    return;
}

sub remember {
    my ($file) = @_;
    open my $out, '>', $file or die "$file: $!\n";
    print $out $json->encode($known);
    close $out or die "$file: $!\n";
    return;
}

sub one_of { $_[rand @_] }

sub stamp {
    my ($seconds) = @_;
    my ($s, $m, $h, $day, $month, $year) = gmtime $seconds;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $year + 1900, $month + 1, $day, $h, $m, $s;
}

sub moment {
    my ($year, $month, $day, $h, $m, $s) = $_[0] =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z/ or die "no time: $_[0]\n";
    return timegm(0, $m, $h, $day, $month - 1, $year) + $s;
}

sub rank { {pending => 0, scheduled => 1, active => 2}->{$_[0]} // 3 }

# The requests, as they were told last, that have not ended.
sub unfinished { return @{$known->{told}}{keys %{$known->{unfinished}}} }

# Forgets to have them among these whose time is over, whoever was told so.
sub time_goes_by {
    my ($now) = @_;
    for my $request (unfinished()) {
        next if $request->{state} ne 'active' || !@{$request->{grants}};
        delete $known->{unfinished}{$request->{id}} if !grep { moment($known->{ends}{$_->{id}} // $_->{expiresAt}) > $now } @{$request->{grants}};
    }
    return;
}

sub learn {
    my ($request) = @_;
    my $id = $request->{id};
    my $old = $known->{told}{$id};
    # Answers on different connections may overtake one another.
    my $is_newer = !$old || rank($request->{state}) > rank($old->{state})
        || rank($request->{state}) == rank($old->{state}) && $request->{revision} >= $old->{revision};
    if ($is_newer) {
        $known->{told}{$id} = $request;
        if (rank($request->{state}) < 3) { $known->{unfinished}{$id} = 1 } else { delete $known->{unfinished}{$id} }
    }
    for my $grant (@{$request->{grants}}) {
        $known->{over}{$grant->{id}} = $grant->{state} if $grant->{state} =~ /expired|revoked|superseded|failed/;
        next unless $grant->{expiresAt};
        my $end = \$known->{ends}{$grant->{id}};
        $$end = $grant->{expiresAt} if !$$end || moment($grant->{expiresAt}) > moment($$end);
    }
    return $is_newer;
}

# Forgets what ended and was found to be so: that it ended is kept.
sub settle {
    my ($id) = @_;
    my $request = delete $known->{told}{$id} or return;
    delete $known->{ends}{$_->{id}} for @{$request->{grants}};
    return;
}

my %event = (approve => 'approved', deny => 'denied', cancel => 'cancelled');
sub key { my ($act) = @_; "$event{$act->{kind}} $act->{request} unix:@{[person($act->{who})->{uid}]}" }

# Takes note of an answer; says whether it tells of a request.
sub happened {
    my ($act, $status, $document) = @_;
    $known->{answers}{"$act->{kind} $status"}++;
    $known->{total}++;
    my $may = $status < 300 || $status =~ /^(?:403|404|409|422|429)$/ || $status == 503 && $ENV{STORM_DISK};
    die "$act->{kind} by $act->{who} was answered $status: $document->{detail}\n" unless $may;
    die "$act->{who} approved the own request $act->{request}\n"
        if $act->{kind} eq 'approve' && $status < 300 && $document->{requester}{name} eq $act->{who};
    if ($status >= 300) {
        # Where SQLite has no room for the index of its log, a start may find what it had put into the log.
        lost($act) if $status == 503;
        return 0;
    }
    push @{$known->{heads}}, $document->{head} if $act->{kind} eq 'head';
    $known->{put} = $act->{number} if $act->{kind} eq 'put';
    $known->{done}{key($act)}++ if $event{$act->{kind}};
    $known->{sent}{$act->{ticket}} = $document->{id}
        if $act->{ticket} && ($act->{kind} eq 'open' || $document->{extends});
    return 0 unless $document->{revision};
    learn($document);
    return 1;
}

# Takes note that nobody answered.
sub lost {
    my ($act) = @_;
    push @{$known->{again}}, $act if $act->{kind} eq 'open';
    $known->{maybe}{key($act)}++ if $event{$act->{kind}};
    $known->{doubt}{$_} = 1 for grep { defined } @{$act}{qw(request extends number)};
    return;
}

1;
