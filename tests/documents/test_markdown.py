"""Code is found in documents as a reader finds it."""

from __future__ import annotations

from pathlib import Path

from tests.documents.markdown import Code, code

DOCUMENT = """Text `inline`.

    $ filterd classify a
    ham     0.1    a

    make demo     # why
    trainer train \\
        --recipe x

- a list
  that goes on

```python
import redis

r = redis.Redis()
```

```sh
# a comment
filterd run
```
"""


def test_commands_and_programs(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(DOCUMENT)
    found = code(tmp_path / "a.md")
    assert [block.name for block in found] == [
        "filterd run",
        "filterd classify a",
        "make demo",
        "trainer train --recipe x",
        "r = redis.Redis()",
    ]
    assert found[-1] == Code("python", "import redis\n\nr = redis.Redis()\n")
