#include "server/clients/proxies.h"

#include <arpa/inet.h>
#include <string.h>

#define IPV4_PREFIX_BITS 96

static const uint8_t ipv4_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* ---- addresses ------------------------------------------------------------------------------ */

/* Returns the number of bits that the address has in its own notation, or 0 when it is none. */
static unsigned parse_address(const char *text, size_t bytes, uint8_t address[16])
{
    char copy[PROXIES_ADDRESS_BYTES];
    if (bytes >= sizeof copy || memchr(text, '\0', bytes)) {
        return 0;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    memcpy(address, ipv4_prefix, sizeof ipv4_prefix);
    if (inet_pton(AF_INET, copy, address + sizeof ipv4_prefix) == 1) {
        return 32;
    }
    return inet_pton(AF_INET6, copy, address) == 1 ? 128 : 0;
}

static bool is_port(const char *text, size_t bytes)
{
    return bytes > 1 && bytes <= 6 && text[0] == ':' && strspn(text + 1, "0123456789") >= bytes - 1;
}

/* An entry of the header: an address, maybe in brackets, maybe with a port. Returns 0 or -1. */
static int parse_entry(const char *text, size_t bytes, uint8_t address[16])
{
    const char *bracket = bytes > 0 && text[0] == '[' ? memchr(text, ']', bytes) : NULL;
    const char *colon = memchr(text, ':', bytes);
    size_t length = bytes, skipped = 0;
    if (bracket) {
        skipped = 1;
        length = (size_t)(bracket - text) + 1;
    } else if (colon && !memchr(colon + 1, ':', bytes - (size_t)(colon + 1 - text))) {
        length = (size_t)(colon - text); /* an IPv6 address has two colons */
    }
    if (length < bytes && !is_port(text + length, bytes - length)) {
        return -1;
    }
    return parse_address(text + skipped, length - 2 * skipped, address) > 0 ? 0 : -1;
}

/* Returns 0, or -1 for a peer that has no address. */
static int address_of(const struct sockaddr *peer, uint8_t address[16])
{
    if (peer->sa_family == AF_INET) {
        memcpy(address, ipv4_prefix, sizeof ipv4_prefix);
        memcpy(address + sizeof ipv4_prefix,
               &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
        return 0;
    }
    if (peer->sa_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
        return 0;
    }
    return -1;
}

static void format_address(const uint8_t address[16], char text[PROXIES_ADDRESS_BYTES])
{
    bool is_ipv4 = memcmp(address, ipv4_prefix, sizeof ipv4_prefix) == 0;
    inet_ntop(is_ipv4 ? AF_INET : AF_INET6, address + (is_ipv4 ? sizeof ipv4_prefix : 0), text,
              PROXIES_ADDRESS_BYTES);
}

/* ---- networks ------------------------------------------------------------------------------- */

static int parse_network(const char *text, size_t bytes, struct network *network)
{
    const char *slash = memchr(text, '/', bytes);
    size_t address_bytes = slash ? (size_t)(slash - text) : bytes;
    unsigned most = parse_address(text, address_bytes, network->address), n_bits = most;
    if (most == 0) {
        return -1;
    }
    if (slash) {
        size_t digits = bytes - address_bytes - 1;
        if (digits < 1 || digits > 3 || strspn(slash + 1, "0123456789") < digits) {
            return -1;
        }
        n_bits = 0;
        for (size_t i = 0; i < digits; i++) {
            n_bits = 10 * n_bits + (unsigned)(slash[1 + i] - '0');
        }
    }
    network->n_bits = n_bits + (most == 32 ? IPV4_PREFIX_BITS : 0);
    return n_bits <= most ? 0 : -1;
}

int proxies_parse(struct proxies *p, const char *text)
{
    *p = (struct proxies){.n_networks = 0};
    while (text) {
        size_t bytes = strcspn(text, ",");
        if (bytes == 4 && memcmp(text, "unix", 4) == 0) {
            p->has_unix = true;
        } else if (p->n_networks == PROXIES_MAX ||
                   parse_network(text, bytes, &p->networks[p->n_networks]) != 0) {
            return -1;
        } else {
            p->n_networks++;
        }
        text = text[bytes] ? text + bytes + 1 : NULL;
    }
    return 0;
}

static bool network_has(const struct network *network, const uint8_t address[16])
{
    unsigned n_bytes = network->n_bits / 8, n_rest = network->n_bits % 8;
    if (memcmp(network->address, address, n_bytes) != 0) {
        return false;
    }
    return n_rest == 0 || (network->address[n_bytes] ^ address[n_bytes]) >> (8 - n_rest) == 0;
}

static bool has_address(const struct proxies *p, const uint8_t address[16])
{
    for (size_t i = 0; i < p->n_networks; i++) {
        if (network_has(&p->networks[i], address)) {
            return true;
        }
    }
    return false;
}

bool proxies_has(const struct proxies *p, const struct sockaddr *peer)
{
    uint8_t address[16];
    return peer->sa_family == AF_UNIX ? p->has_unix
                                      : address_of(peer, address) == 0 && has_address(p, address);
}

/* ---- the header ----------------------------------------------------------------------------- */

void proxies_client(const struct proxies *p, const struct sockaddr *peer, const char *const *values,
                    size_t n, char client[PROXIES_ADDRESS_BYTES])
{
    client[0] = '\0';
    if (!proxies_has(p, peer)) {
        return;
    }
    while (n-- > 0) {
        const char *value = values[n];
        for (size_t end = strlen(value) + 1; end > 0;) { /* end: behind the entry and its comma */
            size_t start = --end;
            while (start > 0 && value[start - 1] != ',') {
                start--;
            }
            const char *entry = value + start + strspn(value + start, " \t");
            size_t bytes = (size_t)(value + end - entry);
            while (bytes > 0 && strchr(" \t", entry[bytes - 1])) {
                bytes--;
            }
            uint8_t address[16];
            if (parse_entry(entry, bytes, address) != 0) {
                return;
            }
            format_address(address, client);
            if (!has_address(p, address)) {
                return;
            }
            end = start;
        }
    }
}
