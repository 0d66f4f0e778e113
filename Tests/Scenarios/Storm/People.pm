package Storm::People;
# Who is at work, and how each of them talks with the agent.
use strict;
use warnings;
use Exporter 'import';
use IO::Socket::UNIX;
use JSON::PP;

our @EXPORT = qw($json person connected post answer get pages);

our $json = JSON::PP->new->canonical;

# A user and all groups of theirs.
my %person;
sub person {
    my ($name) = @_;
    my @entry = getpwnam $name;
    return $person{$name} //= {uid => $entry[2], groups => join ' ', $entry[3], split ' ', `id -G $name`};
}

# The kernel tells the agent who is in effect when the connection is made.
sub connected {
    my ($name) = @_;
    ($), $>) = @{person($name)}{qw(groups uid)};
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

# All of what comes in pages, the newest first, up to one that is known already.
sub pages {
    my ($path, $list, $is_known) = @_;
    my ($next, @all) = ('');
    while (defined $next) {
        my $page = get($path . ($next && "&before=$next"));
        for my $item (@{$page->{$list}}) {
            return @all if $is_known && $is_known->($item);
            push @all, $item;
        }
        $next = $page->{next};
    }
    return @all;
}

1;
