"""A repository's configuration as the document that is saved: plain dicts, lists, texts and numbers.

Spec v2, "Repository configuration": one structure for the FlexBuffers of a version 2 repository and the
YAML of version 1. Variants without content are bare texts; variants with content are maps with one key
(in YAML, the format layer turns these into tags).

Written are all fields, those that are unset as null. Read are the fields that we know, whether others are
there or not.
"""

from __future__ import annotations

from icechunk._values.config_reading import config_from_document
from icechunk._values.config_writing import config_to_document

__all__ = ["config_from_document", "config_to_document"]
