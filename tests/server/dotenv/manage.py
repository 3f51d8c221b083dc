#!/usr/bin/env python
"""As on a deployment server: what the settings need is in a file beside this one."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line
from dotenv import load_dotenv

if __name__ == "__main__":
    load_dotenv(Path(__file__).resolve().parent / ".env")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.production")
    execute_from_command_line(sys.argv)
