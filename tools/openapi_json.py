"""openapi.yaml -> JSON, as the daemon serves it: python3 tools/openapi_json.py IN.yaml OUT.json"""

import json
import sys

import yaml


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        document = yaml.safe_load(f)
    with open(target, "w", encoding="utf-8") as f:
        json.dump(document, f, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
