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
use FindBin;
use lib $FindBin::Bin;
use Storm::Agreement;
use Storm::Crowd;
use Storm::Model;

my ($verb, $file, @arguments) = @ARGV;
$SIG{PIPE} = 'IGNORE';

sub work {
    my ($operations, @command) = @_;
    my @lines = gather();
    my ($answers, $is_over) = (0, 0);
    while (defined(my $more = take_a_round(\@lines, $is_over, 1))) {
        $answers += $more;
        next if $is_over || $answers < $operations;
        $is_over = 1;
        system(@command) == 0 or die "@command failed\n";
    }
    print "$answers answers, $known->{total} in all, ", scalar @{$known->{again}}, " to repeat\n";
    return;
}

recall($file);
my @faults = {work => \&work, dead => \&faults_while_dead, check => \&faults_in_the_end}->{$verb}->(@arguments);
remember($file);
print "$_\n" for @faults;
exit(@faults ? 1 : 0);
