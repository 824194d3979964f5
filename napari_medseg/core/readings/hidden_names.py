"""Names of cases in texts about scores, which somebody sees who has yet to read one of these cases blind."""

import re
from collections.abc import Collection

NAMELESS = "a case that is read blind"


def hide_names(text: str, names: Collection[str]) -> str:
    """Replace the names of cases in a text; ``patient 1 case 1`` is not a part of ``patient 1 case 12``."""
    if not names:
        return text
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{any_name})(?!\w)", NAMELESS, text)
