#ifndef SALLYPORT_CLINUX_H
#define SALLYPORT_CLINUX_H
/* The Linux interfaces that Swift's Glibc module leaves out. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <unistd.h>
#include "PeerCredentials.h"
#endif
