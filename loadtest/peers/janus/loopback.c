/* Preloaded into Janus for load tests on loopback: its ICE library takes no address of an interface
 * that is marked as loopback, so the mark is left out of what the system tells of interfaces. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stddef.h>

int getifaddrs(struct ifaddrs **list)
{
	int (*original)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
	int result = original ? original(list) : -1;
	if (result != 0)
		return result;
	for (struct ifaddrs *entry = *list; entry != NULL; entry = entry->ifa_next)
		entry->ifa_flags &= ~(unsigned int)IFF_LOOPBACK;
	return 0;
}
