"""Steps of `page.py`: what goes wrong, who may do less, other eyes and hands, and what must never happen."""

import urllib.parse

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from page_use import DROP, ROWS, done, fetched, stored

STRANGE = [
    "<img src=x onerror=document.title='taken'>",
    "<svg onload=document.title='taken'>",
    'quotes " and \' and `',
    "100% %41 +plus&amp;",
    "hash#query?x=1",
    "ends with space ",
    "日本語 ü é",
    "\u202eright to left",
    "long " + "x" * 300,
]

# What of the text that can be seen has too little contrast (WCAG AA), and what has no name.
AUDIT = """const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
const colour = (layers) => {
  for (const layer of ["#fff", ...layers]) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
  return canvas.getImageData(0, 0, 1, 1).data;
};
const grounds = (e) => (e ? [...grounds(e.parentElement), getComputedStyle(e).backgroundColor] : []);
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const e = node.parentElement;
  if (!node.textContent.trim() || !e.checkVisibility() || e.closest(".unseen, .skip, :disabled, noscript")) continue;
  const [behind, text] = [grounds(e), getComputedStyle(e).color];
  const [a, b] = [luminance(colour(behind)), luminance(colour([...behind, text]))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${node.textContent.trim().slice(0, 40)}: contrast ${ratio.toFixed(2)}`);
}
for (const e of document.querySelectorAll("input, select, button, a, meter, progress, dialog, table")) {
  if (!e.checkVisibility()) continue;
  const named = e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim();
  if (!named) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
}
const titles = [...document.querySelectorAll("h1")].filter((e) => e.checkVisibility());
if (titles.length !== 1) found.push(`${titles.length} main headings`);
if (document.documentElement.lang !== "en") found.push("no language");
return found;"""

WIDTH = "return Math.max(document.scrollingElement.scrollWidth, ...[...document.querySelectorAll('dialog')].map((d) => d.scrollWidth + 2))"


def strange_names(trial):
    """Names that are HTML, escapes or worse are text, and lead to their objects"""
    browser = trial.browser
    trial.s3.create_bucket(Bucket="strange")
    for number, name in enumerate(STRANGE):
        trial.s3.put_object(Bucket="strange", Key=name, Body=bytes(number), Metadata={"x": "<img src=x>"})
        trial.s3.put_object(Bucket="strange", Key=f"{name}/inside//twice/k", Body=b"x")
    trial.enter()
    trial.visit("#folder/strange/", "strange")
    rows = browser.js(ROWS)
    trial.check("the list has every name as it is", sorted(rows) == sorted(STRANGE * 2), rows)
    for number, name in enumerate(STRANGE):
        trial.visit(f"#object/strange/{urllib.parse.quote(name, safe='')}", "")
        browser.wait(f"{name!r}", lambda name=name: browser.js("return document.querySelector('#view h1').textContent") == name)
        trial.check(f"{name[:30]!r} opens", f"{number} B" in browser.text("#view .details"), browser.text("#view"))
    trial.visit(f"#folder/strange/{urllib.parse.quote(STRANGE[0] + '/inside/', safe='')}", "inside")
    browser.click("/")
    browser.wait("the nameless folder", lambda: browser.js(ROWS) == ["twice"])
    trial.check("a folder without a name can be entered", True)
    browser.js(DROP, browser.one(".drop"), [[STRANGE[0], "dropped"]])
    done(trial, f"{STRANGE[0]}/inside//{STRANGE[0]}")
    trial.check("a file of such a name goes up", stored(trial, "strange", f"{STRANGE[0]}/inside//{STRANGE[0]}") == b"dropped")
    taken = browser.js("return [document.title, document.querySelectorAll('#view img, #view script').length]")
    trial.check("nothing of it became HTML", "taken" not in taken[0] and taken[1] == 0, taken)
    trial.visit("#object/strange/a%2F..%2Fb", "That did not work")
    trial.check("what browsers cannot address is said", "Browsers rewrite addresses" in browser.text("#view"))


def signatures(trial):
    """The page's signatures are those of another S3 client"""
    browser, keys = trial.browser, Credentials("AKIDEXAMPLE", "wJalr/XUtnFEMI+K7MDENG")
    vectors = {
        "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    }
    script = """return import("/-/sha256.js").then(({ sha256, hex }) => arguments[0].map((text) => hex(sha256(text))))"""
    trial.check("SHA-256 of FIPS 180-4", browser.js(script, list(vectors)) == list(vectors.values()))
    # RFC 4231, cases 2 and 6.
    script = """return import("/-/sha256.js").then(({ hmac, hex }) => [hex(hmac("Jefe", "what do ya want for nothing?")),
        hex(hmac(new Uint8Array(131).fill(0xaa), "Test Using Larger Than Block-Size Key - Hash Key First"))])"""
    macs = ["5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"]
    trial.check("HMAC of RFC 4231", browser.js(script) == macs)
    for key in ["plain", "a b/ü+'(x)*!~", "100%/日本", "//x"]:
        address = f"http://gateway.test/bucket/{urllib.parse.quote(key, safe='/~')}"
        request = AWSRequest("GET", f"{address}?a=b%20c&versions=", headers={"x-amz-meta-b": "two words", "host": "gateway.test"})
        request.context["payload_signing_enabled"] = False
        signer = S3SigV4Auth(keys, "s3", "us-east-1")
        signer._should_sha256_sign_payload = lambda _: False
        signer.payload = lambda _: "UNSIGNED-PAYLOAD"
        signer.add_auth(request)
        script = """return import("/-/signature.js").then(({ signed, pathOf }) => signed({ access: arguments[0], secret: arguments[1] },
            "GET", "gateway.test", pathOf("bucket", arguments[2]), { versions: "", a: "b c" }, { "x-amz-meta-b": "two words" },
            new Date(arguments[3])).headers.authorization)"""
        stamp = request.headers["X-Amz-Date"]
        moment = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
        made = browser.js(script, keys.access_key, keys.secret_key, key, moment)
        trial.check(f"a request for {key!r}", made == request.headers["Authorization"], (made, request.headers["Authorization"]))
        link = AWSRequest("GET", address, headers={"host": "gateway.test"})
        signer = S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=60)
        signer.add_auth(link)
        wanted = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link.url).query))
        stamp = wanted["X-Amz-Date"]
        moment = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
        script = """return import("/-/signature.js").then(({ presigned, pathOf }) => presigned({ access: arguments[0], secret: arguments[1] },
            "GET", "gateway.test", pathOf("bucket", arguments[2]), {}, 60, new Date(arguments[3])))"""
        made = browser.js(script, keys.access_key, keys.secret_key, key, moment)
        trial.check(f"a link to {key!r}", dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(made).query)) == wanted, made)


def missing_shards(trial):
    """Shards that are not there are seen and told, of the worst stripe"""
    browser = trial.browser
    script = """const stripe = (there) => ({ len: 1000, data_shards: 10, shards: Array.from({ length: 30 }, (_, index) =>
        ({ index, uid: index === 29 && there < 30 ? null : index % 7, endpoint: "192.0.2.1:1", durable: index < there })) });
        return import("/-/shards.js").then(({ drawn }) => {
          document.querySelector("#view").replaceChildren(...drawn({ stripes: arguments[0].map(stripe) }));
          const of = (css) => document.querySelectorAll(`#view ${css}`).length;
          return [document.querySelector("#view .health").className, document.querySelector("#view").innerText, of(".cells .waiting")];
        })"""
    trial.open()
    browser.one("#bar, #sign-in")
    for there, state, words, waiting in [
        ([30], "whole", "All 30 shards in 1 stripe are confirmed. Any 20 of a stripe can be lost", 0),
        ([30, 28], "partial", "58 of 60 shards in 2 stripes are confirmed, the others are on their way. Any 18 of a stripe", 2),
        ([10], "partial", "Any 0 of a stripe can be lost", 20),
        ([30, 9], "lost", "One stripe has fewer than reading it needs", 21),
        ([], "whole", "it has no shards", 0),
        ([30] * 25, "whole", "And 5 stripes more, counted above", 0),
    ]:
        seen = browser.js(script, there)
        trial.check(f"{there[:3]} of 30: {state}", state in seen[0] and words in seen[1] and seen[2] == waiting, seen)


def lesser_keys(trial):
    """Keys that may do less: of a part of a bucket, that only write, that have expired, whose quota is used up"""
    browser = trial.browser
    trial.s3.create_bucket(Bucket="common")
    trial.s3.put_object(Bucket="common", Key="mine/a", Body=b"a")
    part = trial.new_key("default/part", "--scope", "common/mine/*")
    trial.enter(part)
    trial.check("only the bucket of its scope is shown", browser.js(ROWS) == ["common"], browser.js(ROWS))
    browser.click("common")
    browser.says("#view .notice", "Your access key may not do this")
    browser.type("#find", "mine/")
    browser.click("Show")
    browser.wait("its part", lambda: browser.js(ROWS) == ["a"])
    trial.check("it is told so, and finds its part", True)
    writer = trial.new_key("default/writer", "--access", "write-only", "--scope", "common/in/*")
    trial.enter(writer)
    trial.visit("#folder/common/in%2F", "in")
    browser.says("#view .notice", "Your access key may not do this")
    browser.js(DROP, browser.one(".drop"), [["letter", "only written"]])
    done(trial, "in/letter")
    trial.check("who may only write can upload", stored(trial, "common", "in/letter") == b"only written")
    expiring = trial.new_key("default", "--expires", "1s")

    def expired():
        trial.sign_in(expiring)
        browser.wait("an answer", lambda: browser.text("#sign-in-error") or browser.all("#bar"))
        return "has expired" in browser.text("#sign-in-error")

    trial.check("an expired key is told so", browser.wait("expiry", expired))
    small = trial.new_key("small")
    trial.tool("account", "set", "small", "--quota", "1MiB", "--quota-objects", "3")
    trial.enter(small)
    browser.click("New bucket")
    browser.type("#bucket-name", "small-things")
    browser.click("Create")
    browser.says("#view h1", "small-things")
    browser.choose("#choose-files", trial.file("fits", bytes(1_000_000)))
    done(trial, "fits")
    browser.choose("#choose-files", trial.file("too-much", bytes(900_000)))
    browser.says("#transfer-list", "The quota is used up")
    trial.check("a quota is told before anything is sent", True)
    browser.choose("#choose-files", trial.file("little-too-much", bytes(100_000)))
    browser.says("#transfer-list", "(the quota is used up: ")
    trial.check("and as the gateway tells it", True)
    browser.click("Buckets")
    browser.says("#view .figures", "977 KiB of 1.00 MiB")
    browser.says("#view .figures", "nearly used up")
    trial.check("usage beside the quota", browser.js("return document.querySelector('meter').value") == 1_000_000)
    trial.picture("usage")


def troubles(trial):
    """A wrong clock is allowed for; a gateway that is gone is said to be"""
    browser = trial.browser
    shift = "const real = Date.now; Date.now = () => real() + 2 * 3600 * 1000;"
    made = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=shift)
    try:
        trial.enter()
        browser.says("#clock", "2 h 0 min ahead of the gateway's")
        trial.visit("#object/holiday/notes.txt", "notes.txt")
        browser.click("Share link")
        link = browser.js("return document.querySelector('#share-link').value")
        status, _, body = fetched(link)
        trial.check("a clock two hours ahead is allowed for, in links too", status == 200, (status, body))
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])
    trial.enter()
    browser.network(offline=True)
    browser.js("location.hash = '#usage'")
    browser.says("#view", "The gateway does not answer")
    browser.network()
    browser.click("Try again")
    browser.says("#view h1", "Usage")
    trial.check("a gateway that is gone is said to be, and tried again", True)
    access, secret = trial.new_key("brief")
    trial.enter((access, secret))
    trial.tool("access-key", "remove", access)
    browser.click("Usage")
    browser.says("#sign-in-error", "There is no such access key")
    trial.check("a key that was removed is signed out", browser.js("return sessionStorage.length") == 0)


def plain_http(trial):
    """On plain http, where browsers have no cryptography and no clipboard, everything works and the danger is said"""
    browser = trial.browser
    origin = trial.endpoint.replace("127.0.0.1", "gateway.test")
    trial.sign_in(origin=origin)
    trial.check("this is no secure context", browser.js("return !isSecureContext && crypto.subtle === undefined"))
    browser.says("#view h1", "Buckets")
    trial.visit("#object/holiday/notes.txt", "notes.txt")
    browser.click("Share link")
    browser.click("Copy link")
    browser.says("dialog", "Copied")
    trial.check("signed requests and copying work", True)
    browser.click("Close")
    browser.click("Sign out")
    browser.says("#plain", "This connection is not encrypted")
    trial.check("it is said that the connection is not encrypted", True)


def other_eyes(trial):
    """Light and dark, a window and a phone: enough contrast, names for everything, no scrolling sideways"""
    browser = trial.browser
    long = urllib.parse.quote(STRANGE[-1], safe="")
    browser.go("data:text/html,<html lang=en><h1>x</h1><p style='color:%23999;background:%23fff'>faint</p><button></button>"
               "<div style='width:2000px'>wide</div>")
    found = browser.js(AUDIT)
    trial.check("what is too faint, has no name or is too wide is found", len(found) == 2 and browser.js(WIDTH) > 1999, found)
    places = [("#buckets", "Buckets"), ("#usage", "Usage"), ("#folder/strange/", "strange"), ("#folder/holiday/", "holiday"),
              ("#object/holiday/film.mp4", "film.mp4"), (f"#object/strange/{long}", "long"), ("#object/diary/day", "day")]
    for name, size in [("window", (920, 640, False)), ("phone", (360, 740, True))]:
        for shade in ["light", "dark"]:
            browser.screen(*size)
            browser.dark(shade == "dark")
            trial.leave()
            found, wide = browser.js(AUDIT), [browser.js(WIDTH)]
            ground = browser.js("return getComputedStyle(document.body).backgroundColor")
            trial.check(f"{name}, {shade}: the ground is {shade}", (sum(int(c) for c in ground[4:-1].split(",")) < 200) == (shade == "dark"), ground)
            trial.enter()
            for place, title in places:
                trial.visit(place, title)
                if "film" in place:
                    browser.says("#shards", "Held by")
                found += browser.js(AUDIT)
                wide.append(browser.js(WIDTH))
                if (name, shade, title) in [("window", "dark", "film.mp4"), ("phone", "dark", "holiday")]:
                    browser.js("document.querySelector('#shards')?.scrollIntoView()")
                    trial.picture("dark" if name == "window" else "phone")
                if "film" in place:
                    browser.click("Share link")
                    found += browser.js(AUDIT)
                    wide.append(browser.js(WIDTH))
                    browser.press("escape")
            trial.check(f"{name}, {shade}: contrast and names", not found, sorted(set(found)))
            trial.check(f"{name}, {shade}: nothing is wider than the screen", max(wide) <= size[0], wide)


def keyboard(trial):
    """Everything by keyboard: sign in, make a bucket, open it, leave"""
    browser = trial.browser
    focused = "const e = document.activeElement; return e.id || e.textContent.trim()"
    trial.leave()
    trial.check("the first field has the focus", browser.js(focused) == "access", browser.js(focused))
    browser.press(trial.keys[0], "tab", trial.keys[1], "enter")
    browser.says("#view h1", "Buckets")
    trial.check("the heading has the focus in a new view", browser.js(focused) == "Buckets", browser.js(focused))

    def tab_to(name, most=25):
        for _ in range(most):
            browser.press("tab")
            if browser.js(focused) == name:
                return browser.js("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        return False

    trial.check("the focus can be seen", tab_to("New bucket"))
    browser.press("enter")
    browser.one("dialog")
    browser.press("escape")
    browser.wait("no dialog", lambda: not browser.all("dialog"))
    trial.check("Escape closes a dialog, and the focus is where it was", browser.js(focused) == "New bucket", browser.js(focused))
    browser.press("enter")
    browser.one("dialog")
    browser.press("by-keyboard", "enter")
    browser.says("#view h1", "by-keyboard")
    trial.check("a bucket is made", "by-keyboard" in [bucket["Name"] for bucket in trial.s3.list_buckets()["Buckets"]])
    trial.check("the chooser of files can be reached", tab_to("choose-files"))
    trial.check("and the way on", tab_to("choose-folder") and tab_to("find"))
    browser.js("document.querySelector('#main').blur(); scrollTo(0, 0)")
    trial.open("#buckets")
    browser.says("#view h1", "Buckets")
    browser.js("document.querySelector('#skip').focus()")
    browser.press("enter")
    trial.check("the first link skips to the content", browser.js(focused) == "main", browser.js(focused))
    browser.press("tab")
    trial.check("and the tab goes on from there", browser.js("return document.querySelector('#view').contains(document.activeElement)"))
    browser.press("shift+tab")
    trial.check("signing out can be reached", browser.js(focused) == "sign-out", browser.js(focused))
    browser.press("enter")
    browser.one("#sign-in")
    trial.check("forgets the secret", browser.js("return sessionStorage.length + document.querySelector('#secret').value.length") == 0)


def secrecy(trial):
    """The secret never left, nobody else was asked, and what objects contain is not of the page's origin"""
    browser = trial.browser
    trial.enter()
    evil = b"<!doctype html><script>try { document.title = 'took ' + sessionStorage.getItem('arion-keys') } catch (e) { document.title = e.name }</script>"
    trial.s3.put_object(Bucket="holiday", Key="evil.html", Body=evil, ContentType="text/html")
    browser.go(trial.s3.generate_presigned_url("get_object", Params={"Bucket": "holiday", "Key": "evil.html"}))
    title = browser.js("return document.title")
    trial.check("a script in an object runs, and gets at nothing", title == "SecurityError", title or browser.text("body"))
    events = browser.events()
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    headers = [event["params"] for event in events if event["method"] == "Network.requestWillBeSentExtraInfo"]
    trial.check("requests were seen", len(sent) > 500, len(sent))
    port = urllib.parse.urlsplit(trial.endpoint).port
    ours = tuple(f"http://{host}:{port}/" for host in ("127.0.0.1", "gateway.test"))
    # Pages of the browser itself are no requests to anybody.
    urls = {request["request"]["url"] for request in sent}
    others = {url for url in urls if not url.startswith((*ours, "about:", "blob:", "chrome:", "data:"))}
    trial.check("no other host was asked", not others, others)
    leaked = [request for request in [*sent, *headers] if trial.keys[1] in urllib.parse.unquote(str(request))]
    trial.check("the secret key was in no request", not leaked, leaked[:1])
    named = [request for request in [*sent, *headers] if trial.keys[0] in urllib.parse.unquote(str(request))]
    trial.check("while the access key was in hundreds", len(named) > 200, len(named))
    trial.check("no file of the page is missing", not [
        event["params"]["response"]["url"] for event in events
        if event["method"] == "Network.responseReceived" and "/-/" in event["params"]["response"]["url"] and event["params"]["response"]["status"] != 200])
