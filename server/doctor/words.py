"""Every sentence the doctor can say: code -> (what is so, what to do). ``{name}`` is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # machine
        "python": ("Python {version} at {executable}", ""),
        "python-old": (
            "Python {version} at {executable} is too old: 3.11 or newer is needed",
            "install Python 3.11 or newer, and install sbgw-tui with it again",
        ),
        "packages": ("all packages and data files are there", ""),
        "package-missing": (
            "these packages are not installed: {names}",
            "install sbgw-tui again (`make`, or `uv tool install`, `pipx install`)",
        ),
        "package-version": (
            "packages of another version than wanted: {names}",
            "install sbgw-tui in an environment of its own (`uv tool install`, `pipx install`)",
        ),
        "file-missing": (
            "the installation is damaged, these files are missing: {names}",
            "install sbgw-tui again; a wheel that was built whole holds them",
        ),
        "pythonpath-hostile": (
            "{path} holds a package {package} of its own; {effect}",
            "unset PYTHONPATH where sbgw-tui is started, or use `sbgw-tui install-launcher`",
        ),
        "not-sheltered": (
            "this Python obeys PYTHON* variables and the working directory",
            "start the program as `sbgw-tui` or `python sbgw.py`, not by importing tui.cli",
        ),
        "disk": ("{free} free in {folder}", ""),
        "disk-low": (
            "only {free} are free in {folder}",
            "make room: below 50 MB requests are at risk of not being recorded",
        ),
        "disk-full": (
            "the disk is full: {free} free in {folder}",
            "make room, or move the state with SBGW_HOME to another disk",
        ),
        "terminal": ("terminal {term}, {columns}x{lines}, {colours}, {encoding}", ""),
        "terminal-none": (
            "this is not a terminal, so the screen cannot be shown here",
            "start `sbgw-tui` in a terminal, or use `sbgw-tui --no-ui` or `sbgw-tui up`",
        ),
        "terminal-dumb": (
            "TERM is {term}: the screen cannot be drawn",
            "use a terminal that sets TERM (xterm-256color, tmux-256color), or `--no-ui`",
        ),
        "terminal-small": (
            "the terminal is {columns}x{lines}: the screen needs at least 60x16 to be readable",
            "enlarge the window",
        ),
        "terminal-encoding": (
            "the terminal's encoding is {encoding}, which lacks the signs the screen uses",
            "set LANG to a UTF-8 locale such as C.UTF-8, or set ui.ascii = true",
        ),
        # settings
        "settings": ("settings are sound; read: {files}", ""),
        "setting": ("{key} = {value}, from {source}", ""),
        "settings-wrong": ("{problem}", "{fix}"),
        "settings-note": ("{message}", "{hint}"),
        "key-default": (
            "the gateway key is the one everybody knows; fine for this machine alone",
            "",
        ),
        "key-own": ("the gateway key is your own, from {source}", ""),
        # files
        "file-private": ("{what} in {path} can be read by you alone", ""),
        "file-owned": ("{what} in {path} can be changed by you alone", ""),
        "file-absent": ("{what}: there is no {path}", ""),
        "file-open": (
            "{what} in {path} can be read or changed by other users (mode {detail})",
            "{command}",
        ),
        "file-foreign": (
            "{what}: {path} belongs to another user and is not used",
            "remove {path}, or take it over with chown",
        ),
        "file-unusable": ("{what}: {path} {detail}", "put a regular file of your own there"),
        # gateway
        "port-free": ("{host}:{port} is free; no gateway runs", ""),
        "port-ours": ("the gateway serves at {host}:{port}, version {version}, {status}", ""),
        "port-other-version": (
            "the gateway at {host}:{port} is version {version}, this program is {own}",
            "sbgw-tui restart",
        ),
        "gateway-degraded": (
            "the gateway at {host}:{port} reports that it is {status}",
            "see its log: sbgw-tui logs",
        ),
        "port-taken": (
            "{host}:{port} is taken by {owner}, which is not this home's gateway",
            "stop it, or choose another port: server.port in config.toml, or --port",
        ),
        "port-unusable": (
            "cannot listen on {host}:{port}: {detail}",
            "correct server.host and server.port in config.toml",
        ),
        "gateway-silent": (
            "a gateway holds this home but does not answer at {host}:{port}: {detail}",
            "sbgw-tui down --now, then sbgw-tui up",
        ),
        "ledger": ("the ledger {path} is sound: {turns}, {size}", ""),
        "ledger-absent": ("no ledger yet; the first request makes {path}", ""),
        "ledger-unwritable": (
            "the ledger {path} cannot be written: {detail}",
            "make its folder yours and writable (chown, chmod 700), or name another with SBGW_HOME",
        ),
        "ledger-damaged": (
            "the ledger {path} cannot be read: {detail}",
            "start the gateway: it moves the damaged file aside and begins a new one",
        ),
        "ledger-foreign": (
            "{detail}",
            "move {path} away, or name another state folder with SBGW_HOME",
        ),
        "ledger-newer": ("{detail}", "upgrade sbgw-tui, or name another folder with SBGW_HOME"),
        "ledger-unreadable": (
            "the ledger {path} cannot be read: {detail}",
            "make it yours (chown) and private (chmod 600)",
        ),
        "ledger-spill": (
            "rows that the ledger could not take yet wait beside it, in {count}",
            "start the gateway: it takes them in",
        ),
        # network
        "proxy-loopback": (
            "{names} is set, and NO_PROXY does not exempt {host}: clients that are not started "
            "with `sbgw-tui claude` or `sbgw-tui codex` would not reach the gateway",
            "export NO_PROXY={host},localhost",
        ),
        "proxy": ("a proxy is set ({names}), and the gateway's address is exempt", ""),
        "proxy-unusable": (
            "the proxy cannot be used: {detail}",
            'correct the variable, or set network.proxy = "none"',
        ),
        "certificate-unreadable": (
            "{variable} names {path}, which cannot be used as a certificate file",
            "correct or unset {variable}",
        ),
        "certificates-wrong": ("{detail}", "correct network.ca_bundle in config.toml"),
        "interception": (
            "the certificate of {hosts} was issued by {issuer}: something on the way opens the "
            "encryption and can read keys and prompts",
            "if that is your company's proxy it is trusted and works; if not, leave this network",
        ),
        "clock": ("the clock agrees with the providers' within {seconds} s", ""),
        "clock-skew": (
            "this machine's clock is {seconds} s {direction} {name}'s",
            "set the clock (timedatectl set-ntp true): costs are filed and priced by it",
        ),
        # providers
        "no-credential": (
            "no provider has a key, and neither Claude Code nor Codex was seen to have a login",
            "run `sbgw-tui init` to enter a key, or log in with `claude` or `codex`",
        ),
        "provider-unused": ("{name}: no key ({key}); nothing can be sent there", ""),
        "provider-client": ("{name}: no key of ours; clients pay with their own login or key", ""),
        "provider-account": (
            "{name}: {key} is set, but {account} is not",
            "run `sbgw-tui init` and enter {account}",
        ),
        "provider-not-asked": ("{name}: the key is set, not tried (--offline)", ""),
        "provider-live": ("{name}: the key works; {count} models", ""),
        "provider-live-unlisted": ("{name}: it answers; it lists no models", ""),
        "key-refused": (
            "{name} refuses the key in {key} (HTTP {status})",
            "make a new key in {title}'s console, then `sbgw-tui init --set {key}=-`",
        ),
        "provider-limited": (
            "{name} answers HTTP 429: the key works, but its quota or rate is used up",
            "wait, or raise the limit in {title}'s console",
        ),
        "provider-failing": (
            "{name} answers HTTP {status}",
            "if that lasts, look at {title}'s status page and at providers.{name}.base_url",
        ),
        "provider-wrong-address": (
            "{name} answers HTTP {status} to GET /models",
            "check providers.{name}.base_url: it ends where /models begins",
        ),
        "provider-unreachable": (
            "{name} cannot be reached: {detail}",
            "check the network, HTTPS_PROXY and providers.{name}.base_url",
        ),
        "provider-offline": (
            "{name} cannot be reached, because this machine is offline: {detail}",
            "check the network; `sbgw-tui doctor --offline` leaves this out",
        ),
        "provider-tls": (
            "{name}: its certificate is not trusted: {detail}",
            "behind a proxy that opens the encryption, name its CA file in network.ca_bundle "
            "or in SSL_CERT_FILE",
        ),
        "model-retired": (
            "{name}: the model {model} no longer exists",
            'set providers.{name}.model = "{replacement}", and change the routes that name it',
        ),
        "model-gone": (
            "{name} does not list the model {model}",
            "name one that it serves in providers.{name}.model or in the routes: {served}",
        ),
        "models-served": ("{name} serves {models}", ""),
        "prices": ("price list {version}, newest price of {newest}", ""),
        "prices-old": (
            "the newest price in {version} is of {newest}, {days} days ago: costs may be wrong",
            "upgrade sbgw-tui (it brings newer prices), or set your own in [prices]",
        ),
        "prices-missing": (
            "no price is known for {names}: their cost will be unknown",
            "set them in config.toml, in USD for a million tokens: "
            '[prices."{first}"] with in = and out =',
        ),
        # clients
        "client": ("{title} {version} at {path}", ""),
        "client-missing": (
            "{title} is not on the PATH",
            "install it with `npm install -g {package}@{tried}`, or add its folder to PATH",
        ),
        "client-old": (
            "{title} {version} is older than {oldest}, the oldest version tried",
            "npm install -g {package}@{tried}",
        ),
        "client-unknown": (
            "the version of {title} at {path} is not known: {detail}",
            "run `{name} --version` and mend what it says",
        ),
        "client-newer": (
            "{title} {version} at {path}; the newest version tried is {tried}",
            "",
        ),
        "client-file-broken": (
            "{path} is not valid JSON: {title} ignores all of it",
            "correct the file, or remove it",
        ),
        "client-vendor": (
            "{title} is set to {vendor} ({variable} in {source}): it would bypass the gateway",
            "take {variable} out of {source}",
        ),
        "client-refused": ("{title}: {reason}", "{remedy}"),
        "client-elsewhere": (
            "{variable} in {source} sends {title} to {url}, past the gateway",
            "remove {variable} from {source}; a vendor's other address belongs in "
            "providers.{provider}.base_url",
        ),
        "client-helper": (
            "apiKeyHelper in {source} makes {title}'s credential: it is passed on to the vendor",
            "if it prints the gateway key, take it out: the launcher sends that key by itself",
        ),
        "client-direct": (
            "{title} uses the gateway when it is started with `sbgw-tui {name}`",
            "",
        ),
        "client-pointed": ("{title} is pointed at the gateway by {source}", ""),
        "codex-variable": (
            "OPENAI_BASE_URL is set, but Codex ignores it and goes to its vendor",
            "start Codex with `sbgw-tui codex`",
        ),
        # features
        "features": ("{gateway} passes {count} of {title} unchanged", ""),
        "feature-off": ("{title} loses {feature}: {cause}", "{fix}"),
        "feature-broken": (
            "{title}: {feature} does not pass the gateway: {cause}",
            "this is a fault of the gateway; please report it with `sbgw-tui doctor --json`",
        ),
        "features-elsewhere": (
            "providers.{provider}.base_url is not {vendor}'s own address ({host}): which of these "
            "features work is up to the server there",
            "",
        ),
        "features-refused": (
            "requests of {title} are refused with HTTP {status}: {cause}",
            "{fix}",
        ),
        "features-trial": (
            "the gateway that runs did not try these features on itself ({detail}); another one "
            "with the settings on disk did",
            "start it anew with this version and this environment's key: `sbgw-tui restart`",
        ),
        "features-untried": ("the gateway contract could not be tried: {detail}", "{fix}"),
    }
)
