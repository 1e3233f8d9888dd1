// Whole numbers beyond 2^53, such as ids of messages and times in nanoseconds, keep their digits: JavaScript's numbers do not.

const CAN = typeof JSON.rawJSON === "function";
const MAYBE = /\d{16}/;
const WHOLE = /^-?\d+$/;

/** Parses JSON; a number that JavaScript cannot hold becomes what `JSON.stringify` writes as it stood. */
export function parse(text) {
  return CAN && MAYBE.test(text) ? JSON.parse(text, exact) : JSON.parse(text);
}

/** Whether a value has no parts. */
export const isLeaf = (value) => value === null || typeof value !== "object" || isNumber(value);

/** The text of a value that has no parts. */
export const textOf = (value) => (isNumber(value) ? value.rawJSON : String(value));

const isNumber = (value) => CAN && JSON.isRawJSON(value);

function exact(_, value, context) {
  return typeof value === "number" && !Number.isSafeInteger(value) && WHOLE.test(context.source) ? JSON.rawJSON(context.source) : value;
}
