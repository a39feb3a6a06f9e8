// Finds people where none may be: everything that the simulated provider and the demo say about their
// invented people, in every spelling that a page, an address or a header could have.

const PEOPLE = [
  // Names: "test" and one or two of the heavenly stems. Numbers: of no region, or of the demo's page.
  "测试甲", "测试乙", "测试丙", "测试丁", "测试戊", "测试己", "测试庚", "测试辛", "测试壬", "测试癸",
  "00000019000101", "110101190001011009", "某省某市", "某市公安局",
];

const SPELLINGS = new Map(PEOPLE.flatMap((mark) => spellings(mark).map((text) => [text, mark])));

/** The first mark of a person in the text, as it is written there; `undefined` if there is none. */
export function findPerson(text) {
  for (const [spelling, mark] of SPELLINGS) {
    if (text.includes(spelling)) return spelling === mark ? mark : `${mark} as ${spelling}`;
  }
  return undefined;
}

export function spellings(mark) {
  const bytes = Buffer.from(mark);
  const hex = bytes.toString("hex");
  const units = [...mark].map((character) => character.codePointAt(0));
  const as = (write) => units.map(write).join("");
  const percent = hex.replace(/../g, "%$&");
  return [
    mark,
    encodeURIComponent(mark),
    percent,
    percent.toUpperCase(),
    as((unit) => `\\u${unit.toString(16).padStart(4, "0")}`),
    as((unit) => `\\u{${unit.toString(16)}}`),
    as((unit) => `&#${unit};`),
    as((unit) => `&#x${unit.toString(16)};`),
    as((unit) => `&#x${unit.toString(16).toUpperCase()};`),
    hex,
    hex.toUpperCase(),
    [...mark].reverse().join(""),
    // A number in groups.
    ...[" ", "-", "\u00a0"].map((gap) => mark.replace(/(\d{6})(?=\d)/g, `$1${gap}`)),
    // The part of base64 that does not depend on its neighbours.
    ...[0, 1, 2].map((before) => {
      const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
      return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
    }),
  ];
}
