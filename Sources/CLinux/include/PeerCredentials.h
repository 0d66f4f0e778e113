#ifndef SALLYPORT_PEER_CREDENTIALS_H
#define SALLYPORT_PEER_CREDENTIALS_H
#include <stdint.h>

/* Who is at the other end of a Unix socket, as the kernel noted it at connect(2) (unix(7)).
   Swift needs this because `struct ucred` is declared under _GNU_SOURCE only. */
struct sallyport_peer {
    uint32_t uid;
    uint32_t gid;
    int32_t pid; /* 0 where the peer is in another PID namespace */
};

/* Reads SO_PEERCRED. Returns 0, or -1 with errno set. */
int sallyport_peer_credentials(int socket, struct sallyport_peer *peer);

/* Reads SO_PEERGROUPS, the peer's supplementary groups. Returns how many there are, or -1 with
   errno set: ERANGE where there are more than `capacity`. */
int sallyport_peer_groups(int socket, uint32_t *groups, int capacity);
#endif
