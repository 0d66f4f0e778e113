#ifndef SALLYPORT_CMNL_H
#define SALLYPORT_CMNL_H
#include <netinet/in.h> /* before the kernel's headers: both define in_addr */
#include <libmnl/libmnl.h>
#endif
