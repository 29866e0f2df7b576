/** The names of bodies: of functions and layers, their types, statements and expressions. */
import type { AxisExpr, Expr, FnDecl, LayerDecl, Name, Port, Statement, Type } from "../../grammar/ast.ts";
import { BUILTINS } from "../language/builtins.ts";
import { type Declared, NameTable } from "./name-table.ts";

const DTYPES: ReadonlySet<string> = new Set(["f32", "u32", "i32", "bool"]);
const REDUCTIONS: ReadonlySet<string> = new Set(["sum", "mean", "min", "max"]);

export abstract class BodyUses extends NameTable {
  protected fn({ axes, params, result, where, body }: FnDecl): void {
    for (const axis of axes) this.introduce(axis, "axis");
    this.ports(params);
    for (const condition of where) this.expr(condition);
    this.statements(body.statements);
    this.results(result);
  }

  protected layer({ params, shape, where, members, forward }: LayerDecl): void {
    for (const { name, type, default: initial } of params) {
      this.introduce(name, "parameter");
      if (type !== null) this.use(type, { kind: "word", text: type.text });
      if (initial !== null) this.expr(initial);
    }
    if (shape !== null && shape.otherwise !== null) this.expr(shape.otherwise);
    for (const axis of shape?.axes ?? [])
      if (axis.kind === "axis" && axis.label !== null) this.introduce(axis.label, "axis");
    for (const condition of where) this.expr(condition);
    for (const { name } of members) this.introduce(name, "member");
    for (const { index, value, condition } of members)
      this.within(index === null ? [] : [index], () => {
        this.expr(value);
        if (condition !== null) this.expr(condition);
      });
    if (forward === null) return;
    this.within([], () => {
      this.ports(forward.params);
      this.statements(forward.body.statements);
      this.results(forward.result);
    });
  }

  /** They may name what the body has made, and stand before it. */
  private results(types: readonly Type[]): void {
    this.apart(() => types.forEach((type) => this.type(type)));
  }

  protected ports(ports: readonly Port[]): void {
    for (const { name, type, default: initial } of ports) {
      // A type and a default come before their name here, and behind it in the text.
      this.apart(() => {
        if (type !== null) this.type(type);
        if (initial !== null) this.expr(initial);
      });
      this.introduce(name, "argument");
    }
  }

  protected type(type: Type): void {
    switch (type.kind) {
      case "named-type":
        return this.use(type.name, { kind: "word", text: type.name.text });
      case "route-type":
        for (const { axis, of } of type.axes) {
          this.expr(axis);
          if (of !== null) this.expr(of);
        }
        return;
      case "tensor-type":
        if (type.dtype !== null)
          this.use(type.dtype, DTYPES.has(type.dtype.text) ? { kind: "word", text: type.dtype.text } : null);
        return type.axes.forEach((axis) => this.axis(axis));
      default:
        return type satisfies never;
    }
  }

  /** A label that is not known yet is declared by the type. */
  protected axis(axis: AxisExpr): void {
    if (axis.kind === "rest") return;
    const { label, size } = axis;
    if (size.kind === "name" && label !== null && label.text === size.name.text) return this.label(size.name);
    this.expr(size);
    if (label !== null) this.label(label);
  }

  protected label(name: Name): void {
    const known = this.lookup(name);
    if (known === null) this.introduce(name, "axis");
    else this.use(name, known);
  }

  protected statements(statements: readonly Statement[]): void {
    for (const statement of statements) this.statement(statement);
  }

  protected statement(statement: Statement): void {
    switch (statement.kind) {
      case "let":
        this.expr(statement.value);
        return statement.names.forEach((name) => this.assign(name));
      case "return":
        return statement.values.forEach((value) => this.expr(value));
      case "loss":
        return this.expr(statement.value);
      case "metric":
        this.expr(statement.value);
        return this.use(statement.name, { kind: "metric", name: statement.name });
      case "update":
        this.readName(statement.name);
        return this.expr(statement.value);
      case "for":
        this.expr(statement.over);
        this.assign(statement.variable);
        return this.statements(statement.body);
      case "if":
        this.expr(statement.condition);
        this.statements(statement.then);
        return this.statements(statement.else);
      default:
        return statement satisfies never;
    }
  }

  /** One name of a body is one variable, however often it is given a value. */
  protected assign(name: Name): void {
    const known = this.tables.at(-1)!.get(name.text);
    if (known === undefined) this.introduce(name, "local");
    else this.use(name, known);
  }

  protected expr(expr: Expr): void {
    switch (expr.kind) {
      case "number":
      case "string":
      case "bool":
      case "rest":
        return;
      case "name":
        return this.readName(expr.name);
      case "list":
        return expr.items.forEach((item) => this.expr(item));
      case "unary":
        return this.expr(expr.value);
      case "binary":
        this.expr(expr.left);
        return this.expr(expr.right);
      case "if":
        this.expr(expr.condition);
        this.expr(expr.then);
        return this.expr(expr.else);
      case "member":
        this.expr(expr.object);
        return this.record(expr.name, "step", isRoutePart(expr.name) ? { kind: "word", text: expr.name.text } : null);
      case "bracket":
        this.expr(expr.object);
        return expr.items.forEach((item) => this.bracketItem(expr.object, item));
      case "call":
        return this.call(expr);
      case "arrow":
        this.expr(expr.from);
        return this.expr(expr.to);
      case "of":
        this.expr(expr.count);
        return this.expr(expr.value);
      default:
        return expr satisfies never;
    }
  }

  /** `merge[B*C -> A]` may name an axis that is not known yet. */
  protected bracketItem(object: Expr, item: Expr): void {
    if (object.kind !== "name" || object.name.text !== "merge" || item.kind !== "arrow" || item.to.kind !== "name")
      return this.expr(item);
    this.expr(item.from);
    this.use(item.to.name, this.lookup(item.to.name) ?? { kind: "axis", name: item.to.name });
  }

  protected call({ callee, args }: Extract<Expr, { kind: "call" }>): void {
    this.expr(callee);
    const head = callee.kind === "bracket" ? callee.object : callee;
    const target = head.kind === "name" ? this.called(head.name) : null;
    const overLayers = callee.kind === "bracket" && head.kind === "name" && REDUCTIONS.has(head.name.text);
    const over = overLayers && callee.items[0]?.kind === "name" ? this.lookup(callee.items[0].name) : null;
    for (const { name, value } of args) {
      if (name !== null) this.record(name, "label", labelOf(name, target));
      if (over?.kind === "member" && value.kind === "name" && this.lookup(value.name) === null)
        this.use(value.name, { kind: "word", text: value.name.text });
      else this.expr(value);
    }
  }
}

/** Of what a router returns. */
const isRoutePart = ({ text }: Name): boolean => text === "index" || text === "weight";

export function parameterOf(decl: LayerDecl | null, { text }: Name): Declared | null {
  const param = decl?.params.find((p) => p.name.text === text);
  return param === undefined ? null : { kind: "parameter", name: param.name };
}

/** An argument by name of what a call begins with. */
function labelOf(name: Name, target: Declared | null): Declared | null {
  const word: Declared = { kind: "word", text: name.text };
  if (target?.kind === "word") return word;
  if (target?.kind === "builtin") return BUILTINS.get(target.text)?.options.includes(name.text) === true ? word : null;
  if (target?.kind !== "item") return null;
  if (target.item.kind === "layer") return parameterOf(target.item, name);
  const port = target.item.kind === "fn" ? target.item.params.find((p) => p.name.text === name.text) : undefined;
  return port === undefined ? null : { kind: "argument", name: port.name };
}
