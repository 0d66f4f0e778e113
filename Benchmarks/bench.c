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
 *   bench restart NOTIFY COMMAND...      run the agent; how long until its table is there, and until READY=1
 *                                        comes on the socket NOTIFY
 */
#include <netinet/in.h>        /* before the kernel's headers, which otherwise define the same again */
#include <err.h>
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

static void commit_element(struct mnl_socket *s, unsigned n) {
    static uint32_t sequence;
    char buffer[4096];
    uint32_t address = htonl(11u << 24 | (n & 0xffffff)), key[3] = {address, 0, 0};
    ((uint8_t *)&key[1])[0] = IPPROTO_TCP;
    ((uint8_t *)&key[2])[1] = 22;

    struct mnl_nlmsg_batch *batch = mnl_nlmsg_batch_start(buffer, sizeof buffer);
    nftnl_batch_begin(mnl_nlmsg_batch_current(batch), ++sequence);
    mnl_nlmsg_batch_next(batch);
    struct nlmsghdr *header = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(batch), NFT_MSG_NEWSETELEM,
                                                    NFPROTO_INET, NLM_F_CREATE | NLM_F_ACK, ++sequence);
    struct nftnl_set *set = nftnl_set_alloc();
    struct nftnl_set_elem *element = nftnl_set_elem_alloc();
    if (!set || !element) errx(1, "libnftnl");
    nftnl_set_set_str(set, NFTNL_SET_TABLE, "floor");
    nftnl_set_set_str(set, NFTNL_SET_NAME, "grants");
    nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, sizeof key);
    nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, 3600 * 1000);
    nftnl_set_elem_add(set, element);
    nftnl_set_elems_nlmsg_build_payload(header, set);
    nftnl_set_free(set);
    mnl_nlmsg_batch_next(batch);
    nftnl_batch_end(mnl_nlmsg_batch_current(batch), ++sequence);
    mnl_nlmsg_batch_next(batch);

    if (mnl_socket_sendto(s, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) < 0) err(1, "commit");
    mnl_nlmsg_batch_stop(batch);
    ssize_t got = mnl_socket_recvfrom(s, buffer, sizeof buffer);
    if (got < 0 || mnl_cb_run(buffer, got, 0, mnl_socket_get_portid(s), NULL, NULL) < 0) err(1, "element refused");
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
            commit_element(netlink, ++n);
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

static int armed(struct mnl_socket *s) {
    char buffer[4096];
    static uint32_t sequence;
    struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETTABLE, NFPROTO_INET, 0, ++sequence);
    struct nftnl_table *table = nftnl_table_alloc();
    if (!table) errx(1, "libnftnl");
    nftnl_table_set_str(table, NFTNL_TABLE_NAME, "sallyport");
    nftnl_table_nlmsg_build_payload(header, table);
    nftnl_table_free(table);
    if (mnl_socket_sendto(s, header, header->nlmsg_len) < 0) err(1, "get table");
    ssize_t got = mnl_socket_recvfrom(s, buffer, sizeof buffer);
    if (got < 0) err(1, "get table");
    return ((struct nlmsghdr *)buffer)->nlmsg_type != NLMSG_ERROR;
}

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

int main(int count, char **words) {
    if ((count == 5 || count == 6) && !strcmp(words[1], "fill"))
        fill(words[2], atoi(words[3]), atoi(words[4]), count == 6 ? words[5] : "");
    else if (count == 6 && !strcmp(words[1], "latency")) latency(words[2], words[3], words[4], atoi(words[5]));
    else if (count == 5 && !strcmp(words[1], "listeners")) listeners(words[2], atoi(words[3]), atoi(words[4]));
    else if (count == 7 && !strcmp(words[1], "trail"))
        trail(words[2], atoi(words[3]), atoi(words[4]), atoi(words[5]), atoi(words[6]));
    else if (count > 4 && !strcmp(words[1], "ask")) ask_for(words[2], atoi(words[3]), words + 4);
    else if (count > 3 && !strcmp(words[1], "restart")) restart(words[2], words + 3);
    else errx(64, "see the top of bench.c");
    return 0;
}
