/*
 * What packets cost: sends them into network namespaces, each with other rules, in turn, and prints for each kind
 * of packet and each namespace the median of the nanoseconds a packet. packets.sh makes the namespaces.
 *
 *   packets prime NAMESPACE...           let the flows begin that are to be known to conntrack
 *   packets measure ROUNDS NAMESPACE...  one "kind nanoseconds..." a line, in the order of the namespaces
 *
 * A namespace NAME has its other end in NAME-far; both ends of the cable are called `cable`. Sending and all that the
 * receiving namespace does with a packet happen in one go on one core, so the time of sending tells both; a chain
 * behind the rules has to drop all packets, so that the ways of all of them are equally long.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 256, BATCH = 32, SIZE = 60, MOST = 16 };

/* The kinds of packets: addresses and ports as packets.sh has them in its rules. */
static const struct kind {
    const char *name;
    int protocol;
    const char *source;
    int source_port, port;
    bool is_answered;          /* whether it is of an established flow */
} kinds[] = {
    { "unmanaged", IPPROTO_UDP, "192.0.2.7", 40000, 9000, true },
    { "unmanaged-first", IPPROTO_UDP, "192.0.2.8", 40000, 9000, false },
    { "granted", IPPROTO_UDP, "192.0.2.8", 40000, 5000, false },
    { "granted-syn", IPPROTO_TCP, "192.0.2.8", 40000, 22, false },
    { "established", IPPROTO_UDP, "192.0.2.7", 40000, 5000, true },
    { "refused", IPPROTO_UDP, "203.0.113.9", 40000, 5000, false },
    { "refused-syn", IPPROTO_TCP, "203.0.113.9", 40000, 22, false },
};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char *const destination = "192.0.2.1";

static void enter(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || setns(file, CLONE_NEWNET) < 0) err(1, "%s", path);
    close(file);
}

static unsigned sum(const void *bytes, size_t count) {
    const unsigned char *byte = bytes;
    unsigned total = 0;
    for (size_t i = 0; i < count; i += 2) total += byte[i] << 8 | byte[i + 1];
    return total;
}

static uint16_t folded(unsigned total) {
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return htons(~total);
}

static void compose(const struct kind *kind, unsigned char packet[SIZE]) {
    memset(packet, 0, SIZE);
    struct ether_header *frame = (void *)packet;
    memcpy(frame->ether_dhost, "\2\0\0\0\0\1", 6);
    memcpy(frame->ether_shost, "\2\0\0\0\0\2", 6);
    frame->ether_type = htons(ETHERTYPE_IP);
    struct iphdr *ip = (void *)(frame + 1);
    int length = SIZE - sizeof *frame - sizeof *ip;
    ip->version = 4;
    ip->ihl = 5;
    ip->tot_len = htons(length + sizeof *ip);
    ip->ttl = 64;
    ip->protocol = kind->protocol;
    inet_pton(AF_INET, kind->source, &ip->saddr);
    inet_pton(AF_INET, destination, &ip->daddr);
    ip->check = folded(sum(ip, sizeof *ip));
    unsigned pseudo = sum(&ip->saddr, 8) + kind->protocol + length;
    if (kind->protocol == IPPROTO_UDP) {
        struct udphdr *udp = (void *)(ip + 1);
        udp->source = htons(kind->source_port);
        udp->dest = htons(kind->port);
        udp->len = htons(length);
        udp->check = folded(pseudo + sum(udp, length));
    } else {
        struct tcphdr *tcp = (void *)(ip + 1);
        tcp->source = htons(kind->source_port);
        tcp->dest = htons(kind->port);
        tcp->seq = htonl(1);
        tcp->doff = 5;
        tcp->syn = 1;
        tcp->window = htons(1000);
        tcp->check = folded(pseudo + sum(tcp, length));
    }
}

static int open_cable(const char *name) {
    char far[128];
    snprintf(far, sizeof far, "%s-far", name);
    enter(far);
    int cable = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_ll end = {
        .sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = if_nametoindex("cable"),
    };
    if (cable < 0 || bind(cable, (void *)&end, sizeof end) < 0 ||
        setsockopt(cable, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) < 0)
        err(1, "cable of %s", name);
    return cable;
}

/* Sends the first packet of each kind, and answers it where the flow is to be established. */
static void prime(const char *name) {
    int cable = open_cable(name);
    unsigned char packet[SIZE];
    enter(name);
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        compose(kind, packet);
        if (!kind->is_answered) {
            if (send(cable, packet, SIZE, 0) != SIZE) err(1, "send");
            continue;
        }
        struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(kind->port) }, there;
        socklen_t size = sizeof there;
        inet_pton(AF_INET, destination, &here.sin_addr);
        struct timeval patience = { .tv_sec = 2 };
        int service = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (service < 0 || bind(service, (void *)&here, sizeof here) < 0) err(1, "bind");
        setsockopt(service, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (send(cable, packet, SIZE, 0) != SIZE) err(1, "send");
        if (recvfrom(service, packet, SIZE, 0, (void *)&there, &size) < 0)
            err(1, "%s: the first packet of kind %s did not come in", name, kind->name);
        if (sendto(service, "", 1, 0, (void *)&there, size) < 0) err(1, "answer");
        close(service);
    }
    close(cable);
}

/* Nanoseconds for one packet of a burst. */
static double burst(int cable, struct mmsghdr *messages) {
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int sent = 0; sent < BURST; sent += BATCH)
        for (int done = 0; done < BATCH;) {
            int count = sendmmsg(cable, messages, BATCH - done, 0);
            if (count < 0 && errno != ENOBUFS) err(1, "sendmmsg");
            if (count > 0) done += count;
        }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    return ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / BURST;
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(int rounds, int count, char **names) {
    int cables[MOST];
    for (int i = 0; i < count; i++) cables[i] = open_cable(names[i]);
    /* Real time, on one core: what else runs on the machine does not count. */
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(sched_getcpu(), &core);
    struct sched_param priority = { .sched_priority = 1 };
    if (sched_setaffinity(0, sizeof core, &core) < 0) err(1, "sched_setaffinity");
    if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0) warn("not in real time");

    static unsigned char packets[KINDS][SIZE];
    for (int kind = 0; kind < KINDS; kind++) compose(&kinds[kind], packets[kind]);
    double *samples = calloc((size_t)KINDS * count * rounds, sizeof *samples);
    if (!samples) err(1, "calloc");
    for (int round = 0; round < rounds; round++) {
        for (int kind = 0; kind < KINDS; kind++) {
            struct iovec part = { packets[kind], SIZE };
            struct mmsghdr messages[BATCH];
            memset(messages, 0, sizeof messages);
            for (int i = 0; i < BATCH; i++) messages[i].msg_hdr.msg_iov = &part, messages[i].msg_hdr.msg_iovlen = 1;
            for (int i = 0; i < count; i++) {
                int turn = (i + round) % count;
                samples[(kind * count + turn) * rounds + round] = burst(cables[turn], messages);
            }
        }
        usleep(1000);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        printf("%s", kinds[kind].name);
        for (int i = 0; i < count; i++) {
            double *mine = samples + (kind * count + i) * rounds;
            qsort(mine, rounds, sizeof *mine, order);
            printf(" %.0f", mine[rounds / 2]);
        }
        putchar('\n');
    }
}

int main(int count, char **words) {
    if (count > 2 && !strcmp(words[1], "prime")) {
        for (int i = 2; i < count; i++) prime(words[i]);
    } else if (count > 3 && count <= 3 + MOST && !strcmp(words[1], "measure")) {
        measure(atoi(words[2]), count - 3, words + 3);
    } else {
        errx(64, "usage: %s prime NAMESPACE... | measure ROUNDS NAMESPACE...", words[0]);
    }
}
