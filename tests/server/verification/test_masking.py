"""What looks like a credential does not leave for a candidate."""

from __future__ import annotations

import json

from providers.neutral import (
    File,
    Image,
    Message,
    Reasoning,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from server.redact import MASK, Redactor
from server.verification.masking import has_media, masked

SECRET = "sk-ant-api03-" + "a1" * 12
LINE = f"export KEY={SECRET}"


def user(*parts: Text | ToolResult | Image | File) -> Request:
    return Request("m", (Message(Role.USER, parts),))


def test_every_text_is_masked_and_nothing_else() -> None:
    arguments = json.dumps({"command": LINE, "n": 1})
    tool = Tool("Bash", "runs it", {"type": "object"})
    request = Request(
        "m",
        (
            Message(Role.USER, (Text(LINE), ToolResult("c0", (Text(LINE),)))),
            Message(
                Role.ASSISTANT,
                (
                    Reasoning(LINE),
                    ToolCall("c1", "Bash", arguments),
                    ToolCall("c2", "p", LINE, True),
                ),
            ),
        ),
        system=(LINE,),
        tools=(tool,),
        max_tokens=7,
    )
    found = masked(request, Redactor())
    assert SECRET not in repr(found)
    assert repr(found).count(MASK) == 6
    call = found.messages[1].parts[1]
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {"command": f"export KEY={MASK}", "n": 1}
    assert (found.tools, found.max_tokens, found.messages[0].role) == ((tool,), 7, Role.USER)


def test_arguments_that_the_mask_would_break_are_left_out() -> None:
    call = ToolCall("c", "Bash", '{"a": "b"}')
    request = Request("m", (Message(Role.ASSISTANT, (call,)),))
    found = masked(request, lambda text: text.replace('"b"', "***"))
    part = found.messages[0].parts[0]
    assert isinstance(part, ToolCall)
    assert part.arguments == "{}"


def test_pictures_and_documents_are_seen_wherever_they_are() -> None:
    picture = Image(data="aaaa", media_type="image/png")
    assert not has_media(user(Text("a"), ToolResult("c", (Text("b"),))))
    assert has_media(user(picture))
    assert has_media(user(ToolResult("c", (picture,))))
    assert has_media(user(File(text="a")))
