// Pictures as files: a ZIP archive without compression, and a sheet with all of them.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// Little-endian fields: [[bytes of the field, value], ...].
function record(...fields) {
  const out = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 4) out.setUint32(at, value, true);
    else out.setUint16(at, value, true);
    at += size;
  }
  return new Uint8Array(out.buffer);
}

// [{name, bytes}] as the parts of a ZIP archive, for a Blob. Names are ASCII, the time is 1980, when ZIP's begins.
export function zip(files) {
  const parts = [], directory = [];
  let at = 0;
  for (const { name, bytes } of files) {
    const text = new TextEncoder().encode(name);
    const common = [[2, 20], [2, 0], [2, 0], [2, 0], [2, 0x21], [4, crc32(bytes)], [4, bytes.length],
                    [4, bytes.length], [2, text.length], [2, 0]];
    directory.push(record([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), text);
    const local = record([4, 0x04034b50], ...common);
    parts.push(local, text, bytes);
    at += local.length + text.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  return [...parts, ...directory, record([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length],
                                         [4, size], [4, at], [2, 0])];
}

export function bytesOf(dataUrl) {
  return Uint8Array.from(atob(dataUrl.slice(dataUrl.indexOf(",") + 1)), (c) => c.charCodeAt(0));
}

// The chunks of a PNG that say, for machines, that it was generated (XMP).
export function marksOf(png) {
  const view = new DataView(png.buffer, png.byteOffset, png.length);
  const marks = [];
  for (let at = 8; at + 12 <= png.length;) {
    const end = at + 12 + view.getUint32(at);
    const head = String.fromCharCode(...png.subarray(at + 4, Math.min(end, at + 25)));
    if (head === "iTXtXML:com.adobe.xmp") marks.push(png.subarray(at, end));
    at = end;
  }
  return marks;
}

export function withMarks(png, marks) {
  const HEADER = 33; // the signature and IHDR
  return [png.subarray(0, HEADER), ...marks, png.subarray(HEADER)];
}

const MOST_PIXELS = 4096;

// Lines of data: URLs of pictures of one size, side by side, enlarged as far as is of use: a PNG's parts.
export async function sheet(lines) {
  const pictures = await Promise.all(lines.map((line) => Promise.all(line.map(async (src) => {
    const image = Object.assign(new Image(), { src });
    await image.decode();
    return image;
  }))));
  const [{ naturalWidth: width, naturalHeight: height }] = pictures[0];
  const columns = Math.max(...pictures.map((line) => line.length));
  const scale = Math.max(1, Math.min(8, Math.floor(MOST_PIXELS / Math.max(columns * width, lines.length * height))));
  const canvas = Object.assign(document.createElement("canvas"),
                               { width: columns * width * scale, height: lines.length * height * scale });
  const paper = canvas.getContext("2d");
  paper.imageSmoothingEnabled = false;
  paper.fillRect(0, 0, canvas.width, canvas.height);
  pictures.forEach((line, y) => line.forEach((image, x) =>
    paper.drawImage(image, x * width * scale, y * height * scale, width * scale, height * scale)));
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("That is too large for one picture.");
  return withMarks(new Uint8Array(await blob.arrayBuffer()), marksOf(bytesOf(lines[0][0])));
}
