/*
 * Whom a request is from, when it came through a proxy.
 *
 * X-Forwarded-For can be written by anybody. So it is read from its end, where the nearest proxy
 * has added the address that it saw, and only as far as the operator has said whom to believe
 * (--trusted-proxies). No state; any thread.
 */
#ifndef SERVER_CLIENTS_PROXIES_H
#define SERVER_CLIENTS_PROXIES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PROXIES_MAX 32
#define PROXIES_ADDRESS_BYTES INET6_ADDRSTRLEN

/* IPv4 is kept as IPv6 has it, ::ffff:a.b.c.d. */
struct network {
    uint8_t address[16];
    unsigned n_bits; /* of them that count */
};

struct proxies {
    struct network networks[PROXIES_MAX];
    size_t n_networks;
    bool has_unix; /* whoever connects to a Unix socket */
};

/* Addresses and networks like 10.0.0.0/8 or fd00::/8, and "unix", with commas between. NULL is
 * nobody. Returns 0, or -1 when that is not what `text` is. */
int proxies_parse(struct proxies *p, const char *text);

/* Is it one of them? */
bool proxies_has(const struct proxies *p, const struct sockaddr *peer);

/* The client of a request from `peer`, by the values [n] of its X-Forwarded-For in their order: the
 * last address that is none of the proxies', or, where something else stands, the first proxy that
 * it was told to. "" where `peer` has told nothing, or is not to be believed. */
void proxies_client(const struct proxies *p, const struct sockaddr *peer, const char *const *values,
                    size_t n, char client[PROXIES_ADDRESS_BYTES]);

#endif
