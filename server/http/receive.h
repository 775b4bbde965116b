/*
 * What the HTTP library receives, seen as it is.
 *
 * The library tells of a request when it has understood it, and hides the bytes: a NUL in a header,
 * a chunk whose lines end with LF alone, whether a client has sent anything at all. So its recv()
 * is ours (the dynamic linker finds the program's before libc's), which reads for it and lets the
 * connection's own reader of RFC 9112 (api/framing.h) look. The bytes are the library's, unchanged.
 *
 * recv() takes nothing but a descriptor, so while the library runs, a variable of the thread says
 * whose connections those are: the program's only mutable variable outside of a function.
 */
#ifndef SERVER_HTTP_RECEIVE_H
#define SERVER_HTTP_RECEIVE_H

struct connection_list;

/* From now on this thread's recv() looks after these connections; NULL: after none. */
void receive_for(struct connection_list *list);

#endif
