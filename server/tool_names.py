"""Names of the agents' own tools, found again from their keyed digests.

The ledger holds no name of a tool, only digests under the installation's key. Whoever has the key
can tell whether a digest is that of a name that everybody knows; any other name stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from server.prefix import DIGEST_SIZE

KNOWN: Final = (
    # Claude Code
    *("Agent", "AskUserQuestion", "Bash", "BashOutput", "CronCreate", "CronDelete", "CronList"),
    *("Edit", "EnterPlanMode", "EnterWorktree", "ExitPlanMode", "ExitWorktree", "Glob", "Grep"),
    *("KillShell", "LS", "LSP", "ListMcpResourcesTool", "Monitor", "MultiEdit", "NotebookEdit"),
    *("NotebookRead", "Read", "ReadMcpResourceTool", "SendMessage", "Skill", "SlashCommand"),
    *("StructuredOutput", "Task", "TaskCreate", "TaskGet", "TaskList", "TaskOutput", "TaskStop"),
    *("TaskUpdate", "TodoRead", "TodoWrite", "ToolSearch", "WebFetch", "WebSearch", "Write"),
    *("web_search", "web_fetch", "code_execution", "computer", "memory"),
    # Codex
    *("apply_patch", "close_agent", "exec_command", "list_mcp_resource_templates"),
    *("list_mcp_resources", "local_shell", "read_mcp_resource", "request_user_input"),
    *("send_input", "shell", "shell_command", "spawn_agent", "update_plan", "view_image"),
    *("wait", "wait_agent", "write_stdin", "image_generation", "file_search"),
)


def known_names(key: bytes) -> Mapping[bytes, str]:
    """The known names by their digest under an installation's ``key``."""
    return {
        blake2b(name.encode(), key=key, digest_size=DIGEST_SIZE).digest(): name for name in KNOWN
    }
