#!/usr/bin/perl
# Makes a manual page, in the macros of man(7), of a program's own help:
#     sallyport --experimental-dump-help | manual.pl 1 "sallyportd(8)" >sallyport.1
# The plugin of argument-parser that does so would build all of the package once more.
use strict;
use warnings;
use JSON::PP;

my ($section, $others) = @ARGV;
my $program = JSON::PP->new->utf8->decode(do { local $/; <STDIN> })->{command};
binmode STDOUT, ':encoding(UTF-8)';

# Text that roff takes as it is: no escapes, no hyphens for minus signs, no requests.
sub text {
    my ($text) = @_;
    $text =~ s/\\/\\e/g;
    $text =~ s/-/\\-/g;
    $text =~ s/^([.'])/\\&$1/mg;
    return $text;
}

sub line { print text($_[0]), "\n" }

# Paragraphs; lines that are indented are examples, and stay lines.
sub paragraphs {
    for my $part (split /\n\n/, $_[0] // '') {
        my ($prose, $examples) = $part =~ /\A((?:^[^ ].*\n?)*)((?:^ .*\n?)*)\z/m;
        print ".PP\n";
        line($prose =~ s/\n$//r) if $prose;
        next unless $examples;
        $examples =~ s/^  //mg;
        print ".in +4\n.nf\n";
        line($examples);
        print ".fi\n.in\n";
    }
}

sub words {
    my ($argument) = @_;
    my $value = "\\fI" . text($argument->{valueName}) . "\\fR" . ($argument->{isRepeating} ? '...' : '');
    return $value if $argument->{kind} eq 'positional';
    my $names = join ', ',
        map { '\\fB' . text(($_->{kind} eq 'short' ? '-' : '--') . $_->{name}) . '\\fR' }
        @{ $argument->{names} };
    return $argument->{kind} eq 'flag' ? $names : "$names $value";
}

sub arguments {
    for my $argument (@_) {
        print ".TP\n", words($argument), "\n";
        line($argument->{abstract} // '');
    }
}

my %common = map { $_->{valueName} => 1 } grep { $_->{kind} ne 'positional' } @{ $program->{arguments} };

sub own { grep { $_->{shouldDisplay} && !($_->{kind} ne 'positional' && $common{ $_->{valueName} }) } @{ $_[0]{arguments} } }

sub subcommands { grep { $_->{commandName} ne 'help' } @{ $_[0]{subcommands} // [] } }

sub command {
    my ($command, @path) = @_;
    my @subcommands = subcommands($command);
    my @own = own($command);
    if (@own || !@subcommands) {
        my @usage = map { $_->{isOptional} ? '[' . words($_) . ']' : words($_) } @own;
        print '.SS "', text(join ' ', @path, $command->{commandName}), "\"\n";
        print join(' ', '\\fB' . text("@path $command->{commandName}") . '\\fR', @usage), "\n";
        print ".PP\n";
        line($command->{abstract});
        paragraphs($command->{discussion});
        arguments(@own);
    }
    command($_, @path, $command->{commandName}) for @subcommands;
}

my $name = $program->{commandName};
print '.TH ', uc($name), " $section \"\" \"Sallyport\" \"\"\n";
print ".SH NAME\n", text($name), ' \\- ', text($program->{abstract} =~ s/\.$//r), "\n";
print ".SH SYNOPSIS\n.B ", text($name), "\n";
print subcommands($program) ? "\\fIcommand\\fR [\\fIargument\\fR...]\n" : "[\\fIoption\\fR...]\n";
print ".SH DESCRIPTION\n";
paragraphs($program->{discussion});
print ".SH OPTIONS\n";
arguments(grep { $_->{shouldDisplay} } @{ $program->{arguments} });
if (my @commands = subcommands($program)) {
    print ".SH COMMANDS\nEach takes the options above, too.\n";
    command($_, $name) for @commands;
}
print ".SH SEE ALSO\n", text($others), "\n";
