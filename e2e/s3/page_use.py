"""Steps of `page.py`: what people do with a gateway that lets them."""

import hashlib
import random
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

MIB = 1 << 20
# Three parts of 16 MiB, the last one short: two stripes of 10 MiB each, and one.
LARGE_BYTES = 34 * MIB + 12_345
MANY = 450

DROP = """const transfer = new DataTransfer();
for (const [name, text] of arguments[1]) transfer.items.add(new File([text], name, { type: "text/plain" }));
for (const kind of ["dragover", "drop"]) {
  arguments[0].dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""

# Keeps what the bar of the newest upload showed.
WATCH = """window.seen = [];
const look = () => {
  const row = document.querySelector("#transfer-list li:last-child");
  if (row) window.seen.push([row.querySelector("progress").position, row.querySelector(".state").textContent]);
};
new MutationObserver(look).observe(document.getElementById("transfer-list"), { subtree: true, childList: true, attributes: true });"""

ROWS = "return [...document.querySelectorAll('table.list tbody tr')].map((row) => row.querySelector('a').textContent)"


def fetched(url):
    """Status, headers and body, as anybody without a key gets them."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def stored(trial, bucket, key):
    """What another client reads."""
    return trial.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def done(trial, key):
    """Waits for an upload."""
    script = """return [...document.querySelectorAll("#transfer-list li")]
        .some((row) => row.querySelector(".name").textContent === arguments[0] && row.className === "done")"""
    trial.browser.wait(f"{key} to be stored", lambda: trial.browser.js(script, key), 120)


def signing_in(trial):
    """Signing in: wrong keys are told apart, the right one is let in and stays in this tab"""
    browser, (access, secret) = trial.browser, trial.keys
    browser.go(trial.endpoint)
    browser.one("#sign-in")
    trial.check("the gateway's address leads to the page", browser.js("return location.pathname") == "/-/")
    trial.picture("sign-in")
    trial.sign_in(("AKIANOSUCHKEY0000000", secret))
    browser.says("#sign-in-error", "There is no such access key")
    trial.sign_in((access, "not the secret"))
    browser.says("#sign-in-error", "The secret key is not the one")
    trial.check("wrong keys are told apart, in words", True)
    trial.enter()
    trial.check("the account is shown", browser.text("#who") == "default", browser.text("#who"))
    trial.check("an empty account is said to be empty", "There is no bucket" in browser.text("#view"))
    trial.check("what nothing costs is said", "nothing is charged" in browser.text("#view"))
    trial.open()
    browser.says("#view h1", "Buckets")
    trial.check("a reload keeps somebody signed in", True)


def making_buckets(trial):
    """A bucket is made, after a name that cannot be"""
    browser = trial.browser
    trial.enter()
    browser.click("New bucket")
    browser.type("#bucket-name", "No Bucket")
    browser.click("Create")
    browser.says("dialog .error", "3 to 63 lower-case letters")
    trial.check("a wrong name is refused in words, and the dialog stays", bool(browser.all("dialog")))
    browser.type("#bucket-name", "holiday")
    browser.click("Create")
    browser.says("#view h1", "holiday")
    names = [bucket["Name"] for bucket in trial.s3.list_buckets()["Buckets"]]
    trial.check("the bucket is there", names == ["holiday"], names)
    trial.check("it is said to be empty", "Nothing is here" in browser.text("#view"))


def uploading(trial):
    """Files go up by the chooser and by a drop, and appear in the list"""
    browser = trial.browser
    trial.enter()
    trial.visit("#folder/holiday/", "holiday")
    browser.choose("#choose-files", trial.file("notes.txt", b"from the chooser"), trial.file("empty", b""))
    done(trial, "notes.txt")
    done(trial, "empty")
    browser.wait("the list", lambda: browser.js(ROWS) == ["empty", "notes.txt"])
    trial.check("chosen files are stored", stored(trial, "holiday", "notes.txt") == b"from the chooser")
    trial.check("an empty one too", stored(trial, "holiday", "empty") == b"")
    trial.visit("#folder/holiday/letters%2F", "letters")
    browser.js(DROP, browser.one(".drop"), [["a.txt", "dropped A"], ["ü & b.txt", "dropped B"]])
    done(trial, "letters/ü & b.txt")
    done(trial, "letters/a.txt")
    browser.wait("the list", lambda: browser.js(ROWS) == ["a.txt", "ü & b.txt"])
    trial.check("dropped files are stored in the folder", stored(trial, "holiday", "letters/ü & b.txt") == b"dropped B")
    kind = trial.s3.head_object(Bucket="holiday", Key="letters/a.txt")["ContentType"]
    trial.check("with their type", kind == "text/plain", kind)
    browser.click("Clear finished")
    trial.check("finished uploads can be cleared", not browser.all("#transfers"))


def large_upload(trial):
    """A large file goes up in parts, with progress"""
    browser = trial.browser
    content = random.Random(5).randbytes(LARGE_BYTES)
    trial.enter()
    trial.visit("#folder/holiday/", "holiday")
    browser.js(WATCH)
    browser.network(upload=24 * MIB)
    browser.choose("#choose-files", trial.file("film.mp4", content))
    browser.says("#transfer-list", "/s,")
    trial.picture("upload")
    done(trial, "film.mp4")
    shares = sorted({round(position, 3) for position, _ in browser.js("return window.seen") if 0 < position < 1})
    trial.check("progress is shown on the way", len(shares) > 5, shares)
    texts = [text for _, text in browser.js("return window.seen")]
    trial.check("with rate and time left", any("/s, " in text and " left" in text for text in texts), texts[-3:])
    digest = hashlib.sha256(stored(trial, "holiday", "film.mp4")).hexdigest()
    trial.check("every byte is there", digest == hashlib.sha256(content).hexdigest())
    parts = trial.s3.get_object_attributes(Bucket="holiday", Key="film.mp4", ObjectAttributes=["ObjectParts"])
    trial.check("it went in three parts", parts["ObjectParts"]["TotalPartsCount"] == 3, parts)


def cancelling(trial):
    """An upload is cancelled and leaves nothing; one of a name that is taken asks first"""
    browser = trial.browser
    trial.enter()
    trial.visit("#folder/holiday/", "holiday")
    browser.network(upload=MIB)
    browser.choose("#choose-files", trial.file("never.bin", bytes(LARGE_BYTES)))
    browser.says("#transfer-list", "KiB of 34.0 MiB")
    browser.click("Cancel never.bin")
    browser.says("#transfer-list", "cancelled")
    browser.network()
    left = browser.wait("the end of its parts", lambda: "Uploads" not in trial.s3.list_multipart_uploads(Bucket="holiday"))
    trial.check("a cancelled upload leaves no parts", left)
    keys = [row["Key"] for row in trial.s3.list_objects_v2(Bucket="holiday")["Contents"]]
    trial.check("and no object", "never.bin" not in keys, keys)
    browser.choose("#choose-files", trial.file("notes.txt", b"second thoughts"))
    browser.says("#transfer-list", "is there already")
    trial.check("nothing is replaced unasked", stored(trial, "holiday", "notes.txt") == b"from the chooser")
    browser.click("Replace notes.txt")
    done(trial, "notes.txt")
    trial.check("it is when it is wanted", stored(trial, "holiday", "notes.txt") == b"second thoughts")


def walking(trial):
    """Folders are walked, pages turned, beginnings of names found"""
    browser = trial.browser
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: trial.s3.put_object(
            Bucket="holiday", Key=f"photos/2026/img_{number:04}.jpg", Body=bytes(number)), range(MANY)))
    trial.enter()
    browser.click("holiday")
    browser.says("#view h1", "holiday")
    browser.click("photos")
    browser.says("#view h1", "photos")
    trial.check("a folder has folders", browser.js(ROWS) == ["2026"], browser.js(ROWS))
    browser.click("2026")
    browser.says("#view h1", "2026")
    counts = [len(browser.js(ROWS))]
    while browser.js("return [...document.querySelectorAll('#view button')].some((b) => b.textContent === 'Show more' && !b.hidden)"):
        browser.click("Show more")
        browser.wait("more", lambda: len(browser.js(ROWS)) > counts[-1])
        counts.append(len(browser.js(ROWS)))
    trial.check("pages follow each other", counts == [200, 400, 450], counts)
    trial.check("every name once", len(set(browser.js(ROWS))) == MANY)
    browser.type("#find", "img_044")
    browser.click("Show")
    browser.wait("what begins so", lambda: browser.js(ROWS) == [f"img_{number:04}.jpg" for number in range(440, 450)])
    trial.check("names that begin with something are found", True)
    browser.click("photos")
    browser.says("#view h1", "photos")
    browser.js("history.back()")
    browser.says("#view h1", "img_044…")
    trial.check("the way leads up, and the browser's button back", True)
    trial.visit("#folder/holiday/", "holiday")
    trial.picture("folder")


def looking(trial):
    """An object is opened: details, shard health, download, link"""
    browser = trial.browser
    trial.enter()
    trial.visit("#object/holiday/film.mp4", "film.mp4")
    head = trial.s3.head_object(Bucket="holiday", Key="film.mp4")
    shown = browser.text("#view")
    wanted = [f"{LARGE_BYTES:,} bytes", head["ETag"].strip('"'), "AES-256", head["ContentType"]]
    trial.check("details are shown", all(word in shown for word in wanted), shown[:600])

    def whole():
        browser.click("Look again")
        return "All 150 shards in 5 stripes are confirmed" in browser.text("#shards")

    browser.wait("all shards", whole, 60)
    trial.check("shard health: all of five stripes, of which 20 each can be lost", "Any 20 of a stripe can be lost" in browser.text("#shards"))
    strips = browser.js("return [...document.querySelectorAll('.cells')].map((strip) => [strip.getAttribute('aria-label'), strip.children.length])")
    trial.check("each stripe is drawn and told", len(strips) == 5 and all(
        cells == 30 and "30 of 30 shards confirmed, 10 are enough" in label for label, cells in strips), strips)
    trial.picture("object")
    browser.js("document.querySelector('#shards').scrollIntoView()")
    trial.picture("shards")
    browser.click("Held by 30 miners")
    trial.check("miners are listed with what they hold", "Miner 0" in browser.text("#shards table"), browser.text("#shards"))
    browser.click("Download")
    file = browser.downloads / "film.mp4"
    browser.wait("the download", lambda: file.exists() and file.stat().st_size == LARGE_BYTES, 60)
    trial.check("it is downloaded, equal", file.read_bytes() == stored(trial, "holiday", "film.mp4"))


def sharing(trial):
    """A link reads an object without a key, for as long as was chosen, and only that"""
    browser = trial.browser
    trial.enter()
    trial.visit("#object/holiday/letters%2F%C3%BC%20%26%20b.txt", "ü & b.txt")
    browser.click("Share link")
    browser.js("""const select = document.querySelector("#share-lifetime");
        select.value = "3600";
        select.dispatchEvent(new Event("change"));""")
    link = browser.js("return document.querySelector('#share-link').value")
    trial.picture("share")
    status, headers, body = fetched(link)
    trial.check("an ordinary client reads it without a key", (status, body) == (200, b"dropped B"), (status, body))
    trial.check("for an hour", "X-Amz-Expires=3600&" in link, link)
    trial.check("it is shown, not saved", headers["content-disposition"] is None)
    trial.check("the secret is not in it", trial.keys[1] not in urllib.parse.unquote(link))
    status, _, _ = fetched(link.replace("%20%26%20b", "%20%26%20c"))
    trial.check(f"another object is not read by it (HTTP {status})", status == 403)
    browser.click(browser.one("#share-save"))
    link = browser.js("return document.querySelector('#share-link').value")
    _, headers, body = fetched(link)
    told = headers["content-disposition"]
    trial.check("or saved under its name", body == b"dropped B" and told == "attachment; filename*=UTF-8''%C3%BC%20%26%20b.txt", told)
    browser.click("Copy link")
    browser.says("dialog", "Copied")
    browser.click("Close")
    trial.check("the dialog closes", not browser.all("dialog"))


def versions(trial):
    """Versions are listed, and deleted one by one"""
    browser, s3 = trial.browser, trial.s3
    s3.create_bucket(Bucket="diary")
    s3.put_bucket_versioning(Bucket="diary", VersioningConfiguration={"Status": "Enabled"})
    for text in (b"one", b"second"):
        s3.put_object(Bucket="diary", Key="day", Body=text, Metadata={"mood": "<b>good</b>"})
    # Another key that begins the same is not a version of it.
    s3.put_object(Bucket="diary", Key="day 2", Body=b"x")
    trial.enter()
    trial.visit("#object/diary/day", "day")
    rows = browser.js("return [...document.querySelectorAll('#versions tbody tr')].map((row) => row.innerText)")
    trial.check("both versions are listed, the newest first", len(rows) == 2 and "newest" in rows[0] and "6 B" in rows[0], rows)
    trial.check("metadata are text", "<b>good</b>" in browser.text("#view"), browser.text("#view"))
    browser.click(browser.js("return document.querySelectorAll('#versions tbody tr')[1].querySelector('button:last-child')"))
    browser.click("Delete version")
    browser.wait("one version", lambda: browser.js("return document.querySelectorAll('#versions tbody tr').length") == 1)
    left = s3.list_object_versions(Bucket="diary", Prefix="day")["Versions"]
    trial.check("the old one is gone", [row["Size"] for row in left if row["Key"] == "day"] == [6], left)
    browser.click("Delete")
    browser.says("dialog", "The bucket keeps versions")
    browser.click("Cancel")
    trial.check("deleting says what stays", True)


def deleting(trial):
    """Objects and buckets are deleted, once it was confirmed"""
    browser = trial.browser
    trial.s3.create_bucket(Bucket="attic")
    trial.s3.put_object(Bucket="attic", Key="box/old", Body=b"x")
    trial.enter()
    trial.visit("#folder/attic/", "attic")
    browser.click("Delete bucket")
    browser.click(browser.one("dialog button.danger"))
    browser.says("dialog .error", "The bucket is not empty")
    browser.press("escape")
    browser.wait("the dialog to close", lambda: not browser.all("dialog"))
    trial.visit("#object/attic/box%2Fold", "old")
    browser.click("Delete")
    browser.says("dialog", "It cannot be brought back")
    browser.click("Cancel")
    trial.check("an object stays when somebody thinks again", stored(trial, "attic", "box/old") == b"x")
    browser.click("Delete")
    browser.click(browser.one("dialog button.danger"))
    browser.says("#view h1", "box")
    trial.check("it is gone when it was confirmed", "Contents" not in trial.s3.list_objects_v2(Bucket="attic"))
    trial.visit("#folder/attic/", "attic")
    browser.click("Delete bucket")
    browser.click(browser.one("dialog button.danger"))
    browser.says("#view h1", "Buckets")
    names = [bucket["Name"] for bucket in trial.s3.list_buckets()["Buckets"]]
    trial.check("an empty bucket is deleted", "attic" not in names, names)
