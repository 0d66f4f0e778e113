/*
 * The load generator and the floor. Results go to standard output, one "key value..." a line, times in
 * microseconds unless the key says otherwise. bench.sh runs it and makes the table.
 *
 *   bench fill SOCKET FIRST COUNT [HOST] open COUNT grants, 1,024 a request, from source number FIRST on, to this machine
 *                                        or to "@ADDRESS"
 *   bench latency SOCKET EMPTY FOLDER ROUNDS
 *                                        opening over the socket, 1 and 64 clients, in turn with the same of
 *                                        an agent without grants at the socket EMPTY, and the agent's CPU
 *                                        time for each; with the floor: one
 *                                        netlink commit of one element with acknowledgement and one
 *                                        fdatasync'ed append of 512 bytes in FOLDER; and with `nft` run as
 *                                        a program. The floor's set is `inet floor grants` of this
 *                                        network namespace.
 *   bench listeners SOCKET COUNT ROUNDS  opening, 1 client, with nobody and with COUNT connections that are told
 *                                        of every event, in turn
 *   bench trail SOCKET EVENTS UID GID PEOPLE
 *                                        fill the audit trail: PEOPLE users, from UID on, of a group open,
 *                                        sometimes extend, and end again
 *   bench ask SOCKET ROUNDS PATH...      how long each path takes that is read, the median of the rounds, whole
 *                                        microseconds and how many bytes came
 *   bench tamper SOCKET ROUNDS           the ways in which others can damage the table of an agent that does not own it, in
 *                                        turn; how long from before the damage until it is whole
 *   bench ends SOCKET ROUNDS             sessions from the network namespace asking to served and, behind that, inner; from
 *                                        the request that closes their grant, or its end, until both ends know
 *   bench restart NOTIFY COMMAND...      run the agent; how long until its table is there, and until READY=1
 *                                        comes on the socket NOTIFY
 */
#include <netinet/in.h>        /* before the kernel's headers, which otherwise define the same again */
#include <err.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
    SINGLES = 15,              /* measured requests of one client in a round */
    CLIENTS = 64,
    CROWD = 8 * CLIENTS,       /* measured requests of all clients in a round */
    PROGRAMS = 1,              /* runs of nft in a round */
    PORTS = 64,                /* to fill, from port 20000 */
    SOURCES = 16,
    PACED = 10,                /* bursts of SINGLES requests while others listen, and as many while none does */
    PAUSE = 50000,             /* microseconds between two of them */
    ANSWER = 4 << 20,          /* room for the answer about 1,024 grants */
};

static double read_clock(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) err(1, "clock");
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double now(void) { return read_clock(CLOCK_MONOTONIC); }

/* --- samples ---------------------------------------------------------------------------------------- */

struct samples {
    double *value;
    size_t count, room;
};

static void note(struct samples *s, double value) {
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        s->value = realloc(s->value, s->room * sizeof *s->value);
        if (!s->value) err(1, "samples");
    }
    s->value[s->count++] = value;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(const char *key, struct samples *s) {
    qsort(s->value, s->count, sizeof *s->value, ascending);
    printf("%s %.1f %.1f\n", key, s->value[s->count / 2], s->value[s->count * 99 / 100]);
}

/* --- HTTP over the Unix socket ---------------------------------------------------------------------- */

struct client {
    int socket;
    char *answer;
    size_t length;
    double began;
    char location[64];         /* path of the request that was opened */
};

static void connect_client(struct client *c, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    c->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)&address, sizeof address)) err(1, "%s", path);
    c->answer = malloc(ANSWER);
    if (!c->answer) err(1, "answer");
}

/* The CPU time, user and system, of the agent at the other end: of all its threads. */
static clockid_t cpu_clock(struct client *c) {
    struct ucred peer;
    clockid_t clock;
    if (getsockopt(c->socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer})) err(1, "SO_PEERCRED");
    if ((errno = clock_getcpuclockid(peer.pid, &clock))) err(1, "the agent's clock");
    return clock;
}

static void send_request(struct client *c, const char *path, const char *body, size_t length) {
    static char text[1 << 16];
    int size = snprintf(text, sizeof text,
                        "POST %s HTTP/1.1\r\nHost: sallyport\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%.*s", path, length, (int)length, body);
    if (size < 0 || (size_t)size >= sizeof text) errx(1, "request too large");
    c->length = 0;
    c->began = now();
    if (write(c->socket, text, size) != size) err(1, "cannot send a request");
}

/* Reads what has come; 1 once the answer is whole. Ends the program unless it is 2xx. */
static int receive(struct client *c) {
    ssize_t got = read(c->socket, c->answer + c->length, ANSWER - 1 - c->length);
    if (got <= 0) errx(1, "the agent closed the connection");
    c->length += got;
    c->answer[c->length] = 0;
    char *body = strstr(c->answer, "\r\n\r\n");
    if (!body) return 0;
    char *field = strcasestr(c->answer, "\r\ncontent-length:");
    if (!field || field > body) errx(1, "no content length in: %.300s", c->answer);
    if (c->length < (size_t)(body + 4 - c->answer) + strtoul(field + 17, NULL, 10)) return 0;
    if (strncmp(c->answer, "HTTP/1.1 2", 10)) errx(1, "refused: %.2000s", c->answer);
    char *location = strcasestr(c->answer, "\r\nlocation: ");
    c->location[0] = 0;
    if (location && location < body) sscanf(location + 12, "%63[^\r]", c->location);
    return 1;
}

static void exchange(struct client *c, const char *path, const char *body, size_t length) {
    send_request(c, path, body, length);
    while (!receive(c)) {}
}

/* Asks for 22/tcp from an address of 10.0.0.0/8 that nobody had before. */
static void ask(struct client *c) {
    static unsigned next;
    char body[128];
    unsigned n = ++next;
    int length = snprintf(body, sizeof body, "{\"targets\":[\"ssh\"],\"sources\":[\"10.%u.%u.%u/32\"],\"duration\":\"1h\"}",
                          n >> 16 & 255, n >> 8 & 255, n & 255);
    send_request(c, "/v1/requests", body, length);
}

static char (*opened)[64];
static size_t opened_count;

static void opened_one(struct client *c) { memcpy(opened[opened_count++], c->location, sizeof c->location); }

/* Closes again one of those that a round opened, so that the next one meets as many live grants. */
static void take_back(struct client *c) {
    char path[80];
    snprintf(path, sizeof path, "%s/revoke", opened[--opened_count]);
    send_request(c, path, "", 0);
}

static void taken_back(struct client *c) { (void)c; }

struct load {
    void (*ask)(struct client *), (*answered)(struct client *);
    struct samples latency;
    double time, cpu;          /* of all, in microseconds */
};

/* Sends `count` requests over `clients` connections at once. */
static void put_on(struct load *load, struct client *all, int clients, int count) {
    struct pollfd waiting[CLIENTS];
    int asked = 0, answered = 0;
    clockid_t agent = cpu_clock(all);
    double cpu = read_clock(agent), began = now();
    if (clients > count) clients = count;
    for (; asked < clients; asked++) {
        load->ask(&all[asked]);
        waiting[asked] = (struct pollfd){.fd = all[asked].socket, .events = POLLIN};
    }
    while (answered < count) {
        /* A single client just waits in read(2). */
        if (clients > 1 && poll(waiting, clients, -1) < 0) err(1, "poll");
        for (int i = 0; i < clients; i++) {
            struct client *c = &all[i];
            if ((clients > 1 && !waiting[i].revents) || !receive(c)) continue;
            note(&load->latency, now() - c->began);
            load->answered(c);
            answered++;
            waiting[i].fd = -1;
            if (asked < count) {
                load->ask(c);
                waiting[i].fd = c->socket;
                asked++;
            }
        }
    }
    load->time += now() - began;
    load->cpu += read_clock(agent) - cpu;
}

static void revoke_opened(struct client *all, int clients) {
    struct load revoking = {.ask = take_back, .answered = taken_back};
    put_on(&revoking, all, clients, opened_count);
    free(revoking.latency.value);
}

static void fill(const char *path, unsigned first, unsigned count, const char *host) {
    struct client c = {0};
    static char body[1 << 15];
    connect_client(&c, path);
    double began = now();
    for (unsigned done = 0; done < count;) {
        unsigned left = count - done, ports = left < PORTS ? left : PORTS, sources = left / PORTS;
        if (sources < 1) sources = 1;
        if (sources > SOURCES) sources = SOURCES;
        int size = snprintf(body, sizeof body, "{\"duration\":\"12h\",\"targets\":[");
        for (unsigned i = 0; i < ports; i++)
            size += snprintf(body + size, sizeof body - size, "%s\"%u/tcp%s\"", i ? "," : "", 20000 + i, host);
        size += snprintf(body + size, sizeof body - size, "],\"sources\":[");
        for (unsigned i = 0; i < sources; i++)
            size += snprintf(body + size, sizeof body - size, "%s\"172.%u.%u.%u/32\"", i ? "," : "",
                             16 + ((first + i) >> 16), (first + i) >> 8 & 255, (first + i) & 255);
        size += snprintf(body + size, sizeof body - size, "]}");
        exchange(&c, "/v1/requests", body, size);
        done += ports * sources;
        first += sources;
    }
    printf("fill_ms %.0f\n", (now() - began) / 1e3);
}

/* --- the floor -------------------------------------------------------------------------------------- */

static struct mnl_socket *netlink_socket(void) {
    struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) err(1, "netlink");
    return s;
}

/* A message about an element: an address, where the set has addresses, TCP and a port. */
static void build_element(struct nlmsghdr *header, const char *table, const char *name, uint32_t address, uint16_t port,
                          int has_timeout) {
    uint32_t key[3] = {htonl(address), 0, 0};
    ((uint8_t *)&key[1])[0] = IPPROTO_TCP;
    memcpy(&key[2], &(uint16_t){htons(port)}, sizeof port);
    struct nftnl_set *set = nftnl_set_alloc();
    struct nftnl_set_elem *element = nftnl_set_elem_alloc();
    if (!set || !element) errx(1, "libnftnl");
    nftnl_set_set_str(set, NFTNL_SET_TABLE, table);
    nftnl_set_set_str(set, NFTNL_SET_NAME, name);
    int skipped = address ? 0 : 1;
    nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key + skipped, sizeof key - skipped * sizeof *key);
    if (has_timeout) nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, 3600 * 1000);
    nftnl_set_elem_add(set, element);
    nftnl_set_elems_nlmsg_build_payload(header, set);
    nftnl_set_free(set);
}

/* A message about a table; of all tables where it has no name. */
static void build_table(struct nlmsghdr *header, const char *name) {
    struct nftnl_table *table = nftnl_table_alloc();
    if (!table) errx(1, "libnftnl");
    if (name) nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
    nftnl_table_nlmsg_build_payload(header, table);
    nftnl_table_free(table);
}

enum change { FLOOR, FLUSH, NO_TABLE, NO_PORT, MORE, CHANGES };
static const char *const change_names[] = {"floor", "flush", "table", "deleted", "added"};

/* Commits one change, with acknowledgement. */
static void commit(struct mnl_socket *s, enum change change, unsigned n) {
    static const struct { int type, family, flags; } kinds[] = {
        {NFT_MSG_NEWSETELEM, NFPROTO_INET, NLM_F_CREATE},
        {NFT_MSG_DELTABLE, NFPROTO_UNSPEC, 0},
        {NFT_MSG_DELTABLE, NFPROTO_INET, 0},
        {NFT_MSG_DELSETELEM, NFPROTO_INET, 0},
        {NFT_MSG_NEWSETELEM, NFPROTO_INET, NLM_F_CREATE},
    };
    static uint32_t sequence;
    char buffer[4096];

    struct mnl_nlmsg_batch *batch = mnl_nlmsg_batch_start(buffer, sizeof buffer);
    nftnl_batch_begin(mnl_nlmsg_batch_current(batch), ++sequence);
    mnl_nlmsg_batch_next(batch);
    struct nlmsghdr *header = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(batch), kinds[change].type,
                                                    kinds[change].family, kinds[change].flags | NLM_F_ACK, ++sequence);
    if (change == FLOOR) build_element(header, "floor", "grants", 11u << 24 | (n & 0xffffff), 22, 1);
    else if (change == FLUSH) build_table(header, NULL);
    else if (change == NO_TABLE) build_table(header, "sallyport");
    else if (change == NO_PORT) build_element(header, "sallyport", "managed", 0, 22, 0);
    else build_element(header, "sallyport", "grants4_32", 11u << 24 | n, 22, 1);
    mnl_nlmsg_batch_next(batch);
    nftnl_batch_end(mnl_nlmsg_batch_current(batch), ++sequence);
    mnl_nlmsg_batch_next(batch);

    if (mnl_socket_sendto(s, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) < 0) err(1, "commit");
    mnl_nlmsg_batch_stop(batch);
    ssize_t got = mnl_socket_recvfrom(s, buffer, sizeof buffer);
    if (got < 0 || mnl_cb_run(buffer, got, 0, mnl_socket_get_portid(s), NULL, NULL) < 0) err(1, "change refused");
}

static void append(int file) {
    static const char entry[512];
    if (write(file, entry, sizeof entry) != sizeof entry || fdatasync(file)) err(1, "append");
}

static void run_nft(unsigned n) {
    char element[80];
    snprintf(element, sizeof element, "{ 12.%u.%u.%u . tcp . 22 timeout 3600s }", n >> 16 & 255, n >> 8 & 255, n & 255);
    char *command[] = {"nft", "add", "element", "inet", "floor", "grants", element, NULL};
    pid_t child;
    int status;
    if ((errno = posix_spawnp(&child, "nft", NULL, NULL, command, environ))) err(1, "nft");
    if (waitpid(child, &status, 0) < 0 || status) errx(1, "nft failed");
}

static void latency(const char *path, const char *empty_path, const char *folder, int rounds) {
    struct client clients[CLIENTS] = {0}, other = {0};
    const struct load opening = {.ask = ask, .answered = opened_one};
    struct load single = opening, empty = opening, crowd = opening;
    struct samples floor = {0}, program = {0};
    double began;
    char name[4096];
    unsigned n = 0;

    opened = calloc(CROWD, sizeof *opened);
    snprintf(name, sizeof name, "%s/append", folder);
    int file = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!opened || file < 0) err(1, "%s", name);
    struct mnl_socket *netlink = netlink_socket();
    for (int i = 0; i < CLIENTS; i++) connect_client(&clients[i], path);
    connect_client(&other, empty_path);

    for (int round = -1; round < rounds; round++) {
        if (round == 0)        /* the first round only warms up */
            single = empty = crowd = opening, floor.count = program.count = 0;
        put_on(&single, clients, 1, SINGLES);
        revoke_opened(clients, 1);
        put_on(&empty, &other, 1, SINGLES);
        revoke_opened(&other, 1);
        for (int i = 0; i < SINGLES; i++) {
            began = now();
            commit(netlink, FLOOR, ++n);
            append(file);
            note(&floor, now() - began);
        }
        for (int i = 0; i < PROGRAMS; i++) {
            began = now();
            run_nft(++n);
            note(&program, now() - began);
        }
        put_on(&crowd, clients, CLIENTS, CROWD);
        revoke_opened(clients, CLIENTS);
    }
    print_percentiles("single", &single.latency);
    print_percentiles("empty", &empty.latency);
    print_percentiles("crowd", &crowd.latency);
    print_percentiles("floor", &floor);
    print_percentiles("program", &program);
    printf("rate %.0f %.0f\n", single.latency.count / single.time * 1e6, crowd.latency.count / crowd.time * 1e6);
    printf("cpu %.1f %.1f\n", single.cpu / single.latency.count, crowd.cpu / crowd.latency.count);
    unlink(name);
}

/* --- listeners -------------------------------------------------------------------------------------- */

/* What listeners tell the one who measures, in memory of both. */
struct heard {
    volatile unsigned listening;
    volatile unsigned long events;
};

/* Connects listeners and reads what they are told, until it is killed. */
static void listen_for_ever(const char *path, unsigned count, struct heard *heard) {
    static const char request[] = "GET /v1/events HTTP/1.1\r\nHost: sallyport\r\n\r\n";
    static char text[1 << 20];
    struct epoll_event news[64];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i < count; i++) {
        struct client c = {0};
        connect_client(&c, path);
        free(c.answer);
        if (write(c.socket, request, sizeof request - 1) != sizeof request - 1) err(1, "cannot listen");
        ssize_t got = read(c.socket, text, sizeof text - 1);
        if (got < 12 || strncmp(text, "HTTP/1.1 200", 12)) errx(1, "cannot listen: %.*s", (int)got, text);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = c.socket};
        if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, c.socket, &event)) err(1, "epoll");
        heard->listening++;
    }
    for (;;) {
        int ready = epoll_wait(poller, news, 64, -1);
        for (int i = 0; i < ready; i++) {
            ssize_t got = read(news[i].data.fd, text, sizeof text - 1);
            if (got <= 0) errx(1, "the agent closed the connection of a listener");
            text[got] = 0;
            /* A write of the agent's ends with an event, as a rule; whoever is cut in two counts there. */
            for (char *at = text; (at = strstr(at, "\nid: ")); at++) heard->events++;
        }
    }
}

static void listeners(const char *path, unsigned count, int rounds) {
    struct client c = {0};
    const struct load opening = {.ask = ask, .answered = opened_one};
    struct load alone = opening, heard_by_all = opening;
    struct heard *heard = mmap(NULL, sizeof *heard, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned long expected = 0;
    if (heard == MAP_FAILED || !(opened = calloc(CROWD, sizeof *opened))) err(1, "memory");
    connect_client(&c, path);
    for (int round = -1; round < rounds; round++) {
        if (round == 0) alone = heard_by_all = opening, heard->events = expected = 0;
        for (int i = 0; i < PACED; i++) {
            put_on(&alone, &c, 1, SINGLES);
            revoke_opened(&c, 1);
            usleep(PAUSE);
        }
        heard->listening = 0;
        pid_t child = fork();
        if (child < 0) err(1, "fork");
        if (!child) listen_for_ever(path, count, heard);
        while (heard->listening < count) {
            if (waitpid(child, NULL, WNOHANG)) errx(1, "the listeners ended");
            usleep(1000);
        }
        for (int i = 0; i < PACED; i++) {
            put_on(&heard_by_all, &c, 1, SINGLES);
            revoke_opened(&c, 1);
            expected += 2ul * SINGLES * count;
            usleep(PAUSE);
        }
        /* All of it is told, in a while. */
        double limit = now() + 20e6;
        while (heard->events < expected && now() < limit) usleep(10000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        usleep(200000);        /* for the agent to see them gone */
    }
    if (heard->events < expected) errx(1, "listeners heard %lu events of %lu", heard->events, expected);
    print_percentiles("alone", &alone.latency);
    print_percentiles("heard", &heard_by_all.latency);
}

/* --- the audit trail -------------------------------------------------------------------------------- */

/* One person's share: 4 grants a request, of two ports and two sources. */
static void work(const char *path, unsigned person, unsigned requests) {
    struct client c = {0};
    char body[512], place[80];
    srandom(person + 1);
    connect_client(&c, path);
    for (unsigned n = 0; n < requests; n++) {
        unsigned port = random() % (PORTS - 1), source = random() % 60000;
        int length = snprintf(body, sizeof body,
                              "{\"targets\":[\"%u/tcp\",\"%u/tcp\"],\"sources\":[\"172.16.%u.%u/32\",\"172.17.%u.%u/32\"],"
                              "\"duration\":\"1h\",\"reason\":\"as planned, part %u\"}",
                              20000 + port, 20001 + port, source >> 8, source & 255, source >> 8, source & 255, n);
        exchange(&c, "/v1/requests", body, length);
        memcpy(place, c.location, sizeof c.location);
        if (n % 500 == 499) {
            strcat(place, "/extend");
            exchange(&c, place, "{\"duration\":\"1m\"}", 17);
            place[strlen(place) - 7] = 0;
        }
        strcat(place, "/revoke");
        exchange(&c, place, "", 0);
    }
}

static void trail(const char *path, unsigned events, unsigned uid, unsigned gid, unsigned people) {
    double began = now();
    for (unsigned person = 0; person < people; person++) {
        pid_t child = fork();
        if (child < 0) err(1, "fork");
        if (child) continue;
        if (setgroups(1, (gid_t[]){gid}) || setgid(gid) || setuid(uid + person)) err(1, "another user");
        work(path, person, events / people / 8);
        exit(0);
    }
    for (unsigned person = 0, status; person < people; person++)
        if (wait((int *)&status) < 0 || status) errx(1, "somebody could not work");
    printf("trail_ms %.0f\n", (now() - began) / 1e3);
}

static void ask_for(const char *path, int rounds, char **targets) {
    struct client c = {0};
    char text[1024];
    connect_client(&c, path);
    for (int place = 1; *targets; targets++, place++) {
        struct samples times = {0};
        for (int round = 0; round < rounds; round++) {
            int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: sallyport\r\n\r\n", *targets);
            c.length = 0;
            c.began = now();
            if (write(c.socket, text, size) != size) err(1, "cannot ask");
            while (!receive(&c)) {}
            note(&times, now() - c.began);
        }
        qsort(times.value, times.count, sizeof *times.value, ascending);
        printf("%d %.0f %zu\n", place, times.value[times.count / 2], c.length);
        free(times.value);
    }
}

/* --- restart ---------------------------------------------------------------------------------------- */

/* Whether the kernel has the table, or an element of a set of it. */
static int has(struct mnl_socket *s, const char *set, uint32_t address, uint16_t port) {
    char buffer[4096];
    static uint32_t sequence;
    struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, set ? NFT_MSG_GETSETELEM : NFT_MSG_GETTABLE, NFPROTO_INET, 0,
                                                    ++sequence);
    if (set) build_element(header, "sallyport", set, address, port, 0);
    else build_table(header, "sallyport");
    if (mnl_socket_sendto(s, header, header->nlmsg_len) < 0) err(1, "get");
    ssize_t got = mnl_socket_recvfrom(s, buffer, sizeof buffer);
    if (got < 0) err(1, "get");
    return ((struct nlmsghdr *)buffer)->nlmsg_type != NLMSG_ERROR;
}

static int armed(struct mnl_socket *s) { return has(s, NULL, 0, 0); }

static void restart(const char *notify, char **command) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", notify);
    unlink(notify);
    int ready = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ready < 0 || bind(ready, (struct sockaddr *)&address, sizeof address)) err(1, "%s", notify);
    setenv("NOTIFY_SOCKET", notify, 1);
    struct mnl_socket *netlink = netlink_socket();

    double began = now(), table = 0;
    pid_t child;
    if ((errno = posix_spawnp(&child, command[0], NULL, NULL, command, environ))) err(1, "%s", command[0]);
    for (;;) {
        char message[4096];
        ssize_t got = recv(ready, message, sizeof message - 1, MSG_DONTWAIT);
        if (got > 0) {
            message[got] = 0;
            if (strstr(message, "READY=1")) break;
        }
        if (!table && armed(netlink)) table = now();
        if (waitpid(child, NULL, WNOHANG) == child) errx(1, "the agent ended");
        poll(&(struct pollfd){.fd = ready, .events = POLLIN}, 1, 1);
    }
    double end = now();
    printf("pid %d\narmed_ms %.1f\nrestored_ms %.1f\n", child, ((table ? table : end) - began) / 1e3, (end - began) / 1e3);
}

/* --- tampering -------------------------------------------------------------------------------------- */

static void tamper(const char *path, int rounds) {
    enum { GRANTED = 10u << 24 | 7 };
    static const char body[] = "{\"targets\":[\"ssh\"],\"sources\":[\"10.0.0.7/32\"],\"duration\":\"1h\"}";
    struct client c = {0};
    struct mnl_socket *netlink = netlink_socket(), *news = netlink_socket();
    struct samples times[CHANGES] = {0};
    char event[1 << 16];
    unsigned n = 0;
    connect_client(&c, path);
    exchange(&c, "/v1/requests", body, sizeof body - 1);
    if (mnl_socket_setsockopt(news, NETLINK_ADD_MEMBERSHIP, &(int){NFNLGRP_NFTABLES}, sizeof(int)) < 0) err(1, "news");
    for (int round = 0; round < rounds; round++)
        for (enum change change = FLUSH; change < CHANGES; change++) {
            /* Nothing that was noted before is left, and nothing keeps the agent. */
            usleep(30000);
            while (recv(mnl_socket_get_fd(news), event, sizeof event, MSG_DONTWAIT) > 0 || errno == ENOBUFS) {}
            double began = now();
            commit(netlink, change, ++n);
            while (!armed(netlink) || !has(netlink, "managed", 0, 22) || !has(netlink, "grants4_32", GRANTED, 22) ||
                   has(netlink, "grants4_32", 11u << 24 | n, 22)) {
                if (now() - began > 5e6) errx(1, "not mended: %s", change_names[change]);
                /* Only what is committed changes anything. */
                poll(&(struct pollfd){.fd = mnl_socket_get_fd(news), .events = POLLIN}, 1, 100);
                if (recv(mnl_socket_get_fd(news), event, sizeof event, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOBUFS)
                    err(1, "news");
            }
            note(&times[change], now() - began);
        }
    for (enum change change = FLUSH; change < CHANGES; change++) print_percentiles(change_names[change], &times[change]);
}

/* --- the ends of sessions --------------------------------------------------------------------------- */

static const struct way {
    const char *name, *target, *connects_to, *serves_in, *serves_at;
    int port, type;
} ways[] = {
    {"local", "7001/tcp", "192.0.2.1", "served", "192.0.2.1", 7001, SOCK_STREAM},
    {"translated", "7002/tcp", "192.0.2.1", "inner", "10.9.0.2", 7002, SOCK_STREAM},
    {"forwarded", "7003/tcp@10.9.0.2", "10.9.0.2", "inner", "10.9.0.2", 7003, SOCK_STREAM},
    {"datagrams", "7004/udp", "192.0.2.1", "served", "192.0.2.1", 7004, SOCK_DGRAM},
    {"datagrams_behind", "7005/udp@10.9.0.2", "10.9.0.2", "inner", "10.9.0.2", 7005, SOCK_DGRAM},
};
enum { WAYS = sizeof ways / sizeof *ways };

static int socket_in(const char *place, const char *address, int port, int type) {
    char path[64];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
    snprintf(path, sizeof path, "/run/netns/%s", place);
    int file = open(path, O_RDONLY | O_CLOEXEC), made, yes = 1;
    if (file < 0 || setns(file, CLONE_NEWNET) || (made = socket(AF_INET, type | SOCK_CLOEXEC, 0)) < 0) err(1, "%s", place);
    close(file);
    if (inet_pton(AF_INET, address, &here.sin_addr) != 1 || setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        bind(made, (struct sockaddr *)&here, sizeof here))
        err(1, "%s", address);
    return made;
}

/* A session with a word from each end: client, service. */
static void begin_session(const struct way *way, int ends[2]) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(way->port)}, asking;
    char word;
    int service = socket_in(way->serves_in, way->serves_at, way->port, way->type);
    if (way->type == SOCK_STREAM && listen(service, 1)) err(1, "listen");
    ends[0] = socket_in("asking", "192.0.2.7", 0, way->type);
    inet_pton(AF_INET, way->connects_to, &there.sin_addr);
    if (connect(ends[0], (struct sockaddr *)&there, sizeof there) || write(ends[0], "?", 1) != 1) err(1, "%s", way->name);
    if (way->type == SOCK_STREAM) {
        if ((ends[1] = accept(service, NULL, NULL)) < 0 || read(ends[1], &word, 1) != 1) err(1, "accept");
        close(service);
    } else {
        ends[1] = service;
        if (recvfrom(service, &word, 1, 0, (struct sockaddr *)&asking, &(socklen_t){sizeof asking}) != 1 ||
            connect(service, (struct sockaddr *)&asking, sizeof asking))
            err(1, "first datagram");
    }
    if (write(ends[1], "!", 1) != 1 || read(ends[0], &word, 1) != 1) err(1, "%s", way->name);
}

/* Waits for 3 s at most until both ends of sessions have heard of their end, and notes how long it took the later one. Nobody
   says a word. */
static void hear_ends(int (*ends)[2], int count, double since, clockid_t clock, struct samples *times) {
    struct pollfd waiting[2 * WAYS];
    double heard[WAYS] = {0}, limit = since + 3e6;
    for (int i = 0; i < 2 * count; i++) waiting[i] = (struct pollfd){.fd = ends[i / 2][i % 2], .events = POLLIN};
    for (int left = 2 * count; left > 0;) {
        if (read_clock(clock) > limit) break;
        if (poll(waiting, 2 * count, 100) < 0) err(1, "poll");
        for (int i = 0; i < 2 * count; i++)
            if (waiting[i].fd >= 0 && waiting[i].revents) {
                heard[i / 2] = read_clock(clock) - since;
                waiting[i].fd = -1;
                left--;
            }
    }
    for (int i = 0; i < 2 * count; i++) {
        if (waiting[i].fd >= 0) heard[i / 2] = limit - since;
        close(ends[i / 2][i % 2]);
    }
    for (int i = 0; i < count; i++) note(&times[i], heard[i]);
}

static void print_most(const char *key, const char *how, struct samples *s) {
    qsort(s->value, s->count, sizeof *s->value, ascending);
    printf("%s_%s %.1f %.1f\n", key, how, s->value[s->count / 2], s->value[s->count - 1]);
}

static void ends(const char *path, int rounds) {
    struct client c = {0};
    struct samples closed[WAYS] = {0}, expired[WAYS] = {0};
    char body[512], place[80];
    int sessions[WAYS][2];
    connect_client(&c, path);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < WAYS; i++) {
            int size = snprintf(body, sizeof body, "{\"targets\":[\"%s\"],\"sources\":[\"192.0.2.7\"],\"duration\":\"1h\"}",
                                ways[i].target);
            exchange(&c, "/v1/requests", body, size);
            snprintf(place, sizeof place, "%s/revoke", c.location);
            begin_session(&ways[i], sessions[i]);
            send_request(&c, place, "", 0);
            hear_ends(&sessions[i], 1, c.began, CLOCK_MONOTONIC, &closed[i]);
            while (!receive(&c)) {}
        }
        int size = snprintf(body, sizeof body, "{\"targets\":[");
        for (int i = 0; i < WAYS; i++) size += snprintf(body + size, sizeof body - size, "%s\"%s\"", i ? "," : "", ways[i].target);
        size += snprintf(body + size, sizeof body - size, "],\"sources\":[\"192.0.2.7\"],\"duration\":\"2s\"}");
        exchange(&c, "/v1/requests", body, size);
        char *field = strstr(c.answer, "\"expiresAt\":\""), *rest;
        struct tm time = {0};
        if (!field || !(rest = strptime(field + 13, "%Y-%m-%dT%H:%M:%S", &time))) errx(1, "no end in: %s", c.answer);
        double end = timegm(&time) * 1e6 + (*rest == '.' ? strtod(rest, NULL) * 1e6 : 0);
        for (int i = 0; i < WAYS; i++) begin_session(&ways[i], sessions[i]);
        hear_ends(sessions, WAYS, end, CLOCK_REALTIME, expired);
    }
    for (int i = 0; i < WAYS; i++) {
        print_most(ways[i].name, "closed", &closed[i]);
        print_most(ways[i].name, "expired", &expired[i]);
    }
}

int main(int count, char **words) {
    if ((count == 5 || count == 6) && !strcmp(words[1], "fill"))
        fill(words[2], atoi(words[3]), atoi(words[4]), count == 6 ? words[5] : "");
    else if (count == 6 && !strcmp(words[1], "latency")) latency(words[2], words[3], words[4], atoi(words[5]));
    else if (count == 5 && !strcmp(words[1], "listeners")) listeners(words[2], atoi(words[3]), atoi(words[4]));
    else if (count == 7 && !strcmp(words[1], "trail"))
        trail(words[2], atoi(words[3]), atoi(words[4]), atoi(words[5]), atoi(words[6]));
    else if (count > 4 && !strcmp(words[1], "ask")) ask_for(words[2], atoi(words[3]), words + 4);
    else if (count == 4 && !strcmp(words[1], "tamper")) tamper(words[2], atoi(words[3]));
    else if (count == 4 && !strcmp(words[1], "ends")) ends(words[2], atoi(words[3]));
    else if (count > 3 && !strcmp(words[1], "restart")) restart(words[2], words + 3);
    else errx(64, "see the top of bench.c");
    return 0;
}
