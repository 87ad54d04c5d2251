"""A headless Chromium, driven by the WebDriver protocol of its own chromedriver over loopback."""

import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from picture import small

DEADLINE_SECONDS = 30
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "space": " ", "shift": "\ue008"}
# No traffic but to 127.0.0.1: `gateway.test` is there too, and is no secure context.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--host-resolver-rules=MAP gateway.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class Absent(Exception):
    """What was waited for did not come."""


class Browser:
    """One window. What it downloads lands in `downloads`."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="arion-browser-"))
        self.downloads = self.home / "downloads"
        self.downloads.mkdir()
        driver = shutil.which("chromedriver") or "/usr/bin/chromedriver"
        self.process = subprocess.Popen(
            [driver, "--port=0"],
            env={**os.environ, "HOME": str(self.home), "TZ": "UTC"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.session = self.connection = None
        self.logged = []
        try:
            self._begin()
        except BaseException:
            self.quit()
            raise

    def _begin(self):
        for line in self.process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise Absent("chromedriver did not start")
        self.connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=120)
        options = {
            "args": [*FLAGS, f"--user-data-dir={self.home}/profile"],
            "prefs": {"credentials_enable_service": False, "profile.password_manager_leak_detection": False},
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{answer['sessionId']}"
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def _ask(self, method, path, body=None):
        payload = None if body is None else json.dumps(body)
        self.connection.request(method, path, payload, {"content-type": "application/json"})
        value = json.loads(self.connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise Absent(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def _post(self, path, **body):
        return self._ask("POST", self.session + path, body)

    def quit(self):
        """Ends the browser and the driver, and leaves nothing behind."""
        try:
            if self.session:
                self._ask("DELETE", self.session)
        except (OSError, http.client.HTTPException, Absent):
            pass
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process.stdout.close()
            shutil.rmtree(self.home, ignore_errors=True)

    def cdp(self, command, **params):
        """A command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", cmd=command, params=params)

    def go(self, url):
        """Opens an address."""
        self._post("/url", url=url)

    def js(self, script, *arguments):
        """The value of a function's body; a promise is waited for."""
        return self._post("/execute/sync", script=script, args=list(arguments))

    def wait(self, what, holds, seconds=DEADLINE_SECONDS):
        """The first value that counts as true."""
        deadline = time.monotonic() + seconds
        while True:
            value = holds()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Absent(f"{what}: not within {seconds} s; the page says: {self.text('body')[:300]!r}")
            time.sleep(0.05)

    def all(self, css):
        """The elements that a selector finds and that can be seen."""
        script = "return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility())"
        return self.js(script, css)

    def one(self, css):
        """The first element, once it is there."""
        return self.wait(css, lambda: self.all(css))[0]

    def named(self, name, css="button, a, .button, summary"):
        """The element with this text or label, once it is there."""
        script = """const all = [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility());
            return all.find((e) => [e.textContent.trim(), e.getAttribute("aria-label")].includes(arguments[1]))"""
        return self.wait(f"{css} called {name!r}", lambda: self.js(script, css, name))

    def click(self, target):
        """Clicks an element or the one with this name."""
        target = self.named(target) if isinstance(target, str) else target
        self._post(f"/element/{target[ELEMENT]}/click")

    def type(self, css, text):
        """Writes into a field instead of what it has. Of a file chooser: chooses."""
        field = self.one(css)
        self.js("arguments[0].select?.()", field)
        self._post(f"/element/{field[ELEMENT]}/value", text=text)

    def choose(self, css, *files):
        """Chooses files."""
        field = self.js("return document.querySelector(arguments[0])", css)
        self._post(f"/element/{field[ELEMENT]}/value", text="\n".join(str(file) for file in files))

    def press(self, *keys):
        """Presses keys one after the other; `shift+tab` holds one down. Other words are typed."""
        actions = []
        for key in keys:
            held, _, last = key.rpartition("+") if key in ("shift+tab",) else ("", "", key)
            codes = [KEYS[last]] if last in KEYS else list(last)
            actions += [{"type": "keyDown", "value": KEYS[held]}] if held else []
            for code in codes:
                actions += [{"type": "keyDown", "value": code}, {"type": "keyUp", "value": code}]
            actions += [{"type": "keyUp", "value": KEYS[held]}] if held else []
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def text(self, css):
        """What can be read there now; empty if it is not there."""
        return self.js("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def says(self, css, words, seconds=DEADLINE_SECONDS):
        """Waits until some words are there; answers all of the text."""
        found = self.wait(f"{words!r} in {css}", lambda: words in self.text(css) and [self.text(css)], seconds)
        return found[0]

    def screen(self, width, height, mobile=False):
        """The size of the window in CSS pixels."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, is_dark):
        """What the reader's system prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.cdp("Emulation.setEmulatedMedia", features=features)

    def network(self, offline=False, upload=-1):
        """How the network is: bytes a second up, or none at all."""
        self.cdp("Network.enable")
        limits = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self.cdp("Network.emulateNetworkConditions", **limits)

    def picture(self, file):
        """What is to be seen, as a PNG."""
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=False)["data"]
        pathlib.Path(file).write_bytes(small(base64.b64decode(data)))

    def complaints(self):
        """What the console says that is not a refusal of the gateway, since it was asked last."""
        entries = self._post("/se/log", type="browser")
        refused = re.compile(r"Failed to load resource: (the server responded with a status of [45]|net::ERR_INTERNET_DISCONNECTED)")
        return [entry["message"] for entry in entries if not refused.search(entry["message"])]

    def events(self):
        """Everything that went over the network since the browser began, as DevTools tells it."""
        self.logged += [json.loads(entry["message"])["message"] for entry in self._post("/se/log", type="performance")]
        return [event for event in self.logged if event["method"].startswith("Network.")]
