"""Files as a C source: embed.py OUT.c FILE... fills the table of server/routes/web_assets.h.

A large file is embedded compressed, because it goes out that way; one called NAME.gz is NAME, compressed already.
"""

import gzip
import hashlib
import pathlib
import sys

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
COMPRESS_BYTES = 100_000


def main(out, *names):
    arrays, rows = [], []
    for name in names:
        path = pathlib.Path(name)
        data = path.read_bytes()
        compressed = path.suffix == ".gz"
        if compressed:
            path = path.with_suffix("")
        elif len(data) >= COMPRESS_BYTES:
            compressed, data = True, gzip.compress(data, mtime=0)
        etag = hashlib.sha256(data).hexdigest()[:32]
        lines = (",".join(map(str, data[i:i + 64])) for i in range(0, len(data), 64))
        arrays.append(f"static const unsigned char asset_{len(rows)}[] = {{\n" +
                      ",\n".join(lines) + "};\n")
        rows.append(f'    {{"{path.name}", "{TYPES[path.suffix]}", "\\"{etag}\\"", '
                    f"asset_{len(rows)}, {len(data)}, {str(compressed).lower()}}},\n")
    text = ('#include "server/routes/web_assets.h"\n\n' + "\n".join(arrays) +
            "\nconst struct web_asset web_assets[] = {\n" + "".join(rows) + "};\n"
            f"const size_t n_web_assets = {len(rows)};\n")
    pathlib.Path(out).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
