/* The memory of requests' items. Items are confined to their request; what is kept for the next
 * ones is shared. */
#ifndef UF_SERVER_ITEM_H
#define UF_SERVER_ITEM_H

#include "server/server.h"

/* Makes room for so many bytes or some more, which must be more than it has room for; what it holds
 * stays. False: no memory, and nothing changed. */
bool srv_item_reserve(srv_item *item, size_t room);
/* Frees name and all; the item itself is the caller's. */
void srv_item_free(srv_item *item);
/* Gives back what is kept for requests to come. */
void srv_item_trim(void);

#endif
