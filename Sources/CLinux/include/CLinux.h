#ifndef SALLYPORT_CLINUX_H
#define SALLYPORT_CLINUX_H
/* The Linux interfaces that Swift's Glibc module leaves out. */
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/memfd.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <unistd.h>
#include <wchar.h>
#include "PeerCredentials.h"

/* Linux 6.5 (include/uapi/asm-generic/socket.h). */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* The C library declares these under _GNU_SOURCE only, which would change the layout of its types
   against those of the Glibc module. */
int accept4(int socket, struct sockaddr *address, socklen_t *size, int flags);
int memfd_create(const char *name, unsigned int flags);
int setns(int fd, int type);
int unshare(int flags);
int wcwidth(wchar_t character);

/* setresuid(2) of the effective id for the calling thread alone. The C library's own function
   changes all threads, and Swift does not import syscall(2), which is variadic. */
static inline int linux_set_thread_euid(uid_t uid)
{
    return (int)syscall(SYS_setresuid, -1, uid, -1);
}
#endif
