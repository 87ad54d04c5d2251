// Files that were chosen or dropped, as `{ file, path }`; a file of a folder has the folder's names in its path.

/// Of a file chooser.
export function chosen(files) {
  return Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

function fileOf(entry) {
  return new Promise((resolve, reject) => { entry.file(resolve, reject); });
}

async function entriesOf(directory) {
  const [reader, found] = [directory.createReader(), []];
  for (;;) {
    // A browser answers at most a hundred at once, and none when it is done.
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return found;
    found.push(...some);
  }
}

async function walk(entry) {
  if (entry.isFile) return [{ file: await fileOf(entry), path: entry.fullPath.replace(/^\//, "") }];
  const found = [];
  for (const inner of await entriesOf(entry)) found.push(...(await walk(inner)));
  return found;
}

/// Of a drop; folders are walked through. What cannot be read is left out.
export async function dropped(transfer) {
  // The list is gone after the first pause.
  const items = Array.from(transfer.items, (item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const found = [];
  for (const [entry, file] of items) {
    if (entry) found.push(...(await walk(entry).catch(() => [])));
    else if (file) found.push({ file, path: file.name });
  }
  return found;
}
