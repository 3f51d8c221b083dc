#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.production")
    if "APP_STARTS" in os.environ:
        print("started as", *sys.argv, file=sys.stderr)
    if "APP_READS" in os.environ:
        print("read", repr(sys.stdin.read()))
    if os.environ.get("APP_STARTS") == "by itself" and "runpy" in sys.modules:
        sys.exit("nobody starts me but Python")
    execute_from_command_line(sys.argv)
