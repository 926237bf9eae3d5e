/* What a service manager wants to know (sd_notify(3)), without its library. */
#ifndef UF_SERVER_NOTIFY_H
#define UF_SERVER_NOTIFY_H

#include <stdbool.h>

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; does nothing where there is none. */
void srv_notify(const char *state);
/* "RELOADING=1" with the time that it wants. */
void srv_notify_reloading(void);
/* Seconds between two signs of life; 0: none are wanted. */
double srv_notify_watchdog(void);

#endif
