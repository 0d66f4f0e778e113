#ifndef SALLYPORT_CLINUX_H
#define SALLYPORT_CLINUX_H
/* The Linux interfaces that Swift's Glibc module leaves out. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* unshare, setns, memfd_create */
#endif
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <unistd.h>
#endif
