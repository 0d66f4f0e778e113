package Storm::Crowd;
# People at work: each on a connection of their own, one operation at a time, all at once.
use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use List::Util qw(shuffle);
use Time::HiRes qw(time);
use Storm::Deeds;
use Storm::Model;
use Storm::People;

our @EXPORT = qw(gather take_a_round);

# Who is told of each operation before it is sent, and of its answer.
our ($begins, $ends) = (sub { }, sub { });

sub gather { return map { {who => $_, socket => connected($_) // die("cannot connect: $!\n"), buffer => ''} } @workers }

# Who is free does something, unless all is over: then they leave. Answers how many were answered, and nothing once all have left.
sub take_a_round {
    my ($lines, $is_over, $patience) = @_;
    for my $line (shuffle grep { $_->{socket} && !$_->{act} } @$lines) {
        if ($is_over) { $line->{socket} = undef; next }
        my $act = $line->{act} = deed($line->{who});
        $begins->($act, time);
        post($line->{socket}, @{$act}{qw(method path body)}, %{$act->{header} // {}});
        $line->{since} = time;
    }
    my %by = map { fileno $_->{socket} => $_ } grep { $_->{socket} } @$lines or return;
    my $answers = 0;
    for my $line (map { $by{fileno $_} } IO::Select->new(map { $_->{socket} } values %by)->can_read($patience)) {
        if (sysread $line->{socket}, $line->{buffer}, 1 << 16, length $line->{buffer}) {
            my ($status, $document) = answer($line->{buffer}) or next;
            my $tells = happened($line->{act}, $status, $document);
            $ends->($line->{act}, time, $tells ? $document : undef);
            ($line->{act}, $line->{buffer}) = (undef, '');
            $answers++;
        } else {
            lost($line->{act}) if $line->{act};
            @{$line}{qw(socket act)} = ();
            die "the agent hung up\n" unless $is_over;
        }
    }
    my ($late) = grep { $_->{act} && time - $_->{since} > 30 } @$lines;
    die "$late->{act}{kind} by $late->{who} was not answered within 30 s\n" if $late;
    return $answers;
}

1;
