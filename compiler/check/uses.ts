/**
 * Every name of a file and what it stands for, by the scoping of the language: names of a body, then of its layer, of the file, of the
 * library, builtins. Found in the tree, so that branches that are never taken and declarations with errors have their names too. Limits:
 * what follows a point, and names of arguments of what is no declaration, depend on values; an `Observer` sees those. Paths of maps are
 * followed through a small model; those of upcyclings are of any model. In maps, tests and upcyclings, names that are no declarations are taken for words of the place: keys, results, settings of a source.
 */
import type {
  ConfigDecl,
  Expr,
  Item,
  LayerDecl,
  MapDecl,
  MapRule,
  MixtureDecl,
  Module,
  Name,
  TestDecl,
  UpcycleDecl,
  UpcycleRule,
} from "../../grammar/ast.ts";
import { MoeError } from "../../grammar/diagnostic.ts";
import { BUILTINS } from "../language/builtins.ts";
import type { Instance } from "../language/interpret/value.ts";
import { tinyModel } from "../language/model/tiny.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { isVerb } from "../weights/upcycle/verbs.ts";
import { builtin, type Declared, itemOf, type Use } from "./name-table.ts";
import { BodyUses, parameterOf } from "./uses-body.ts";

/** In the order of the text. */
export function usesOf(scope: Scope): readonly Use[] {
  const reader = new FileUses(scope);
  reader.module(scope.module);
  return reader.uses.toSorted((a, b) => a.name.span.start - b.name.span.start);
}

/**
 * The names of its own declaration that may be written at an offset, such as parameters, members and locals; what the file, the library
 * and the language have beside them is `Scope.names()` and `BUILTINS`. Limits: goes by the nearest declaration before the offset, so that behind `y =` it has `y`.
 */
export function namesAt(scope: Scope, offset: number): ReadonlyMap<string, Declared> {
  const item = scope.module.items.findLast(({ span }) => span.start <= offset && offset <= span.end);
  if (item === undefined) return new Map();
  let [nearest, visible]: [number, ReadonlyMap<string, Declared>] = [-1, new Map()];
  const reader = new FileUses(scope);
  reader.onDeclared = ({ span }) => {
    if (span.start < nearest || span.start < item.span.start || span.end > offset) return;
    nearest = span.start;
    visible = reader.visible;
  };
  reader.module(scope.module);
  return visible;
}

/** Where a path of a map leads: a layer of one kind or of several. */
interface Place {
  readonly decls: readonly LayerDecl[];
  readonly instances: readonly Instance[];
}

/** A small model, if there is one. */
function instancesOf(decl: LayerDecl, scope: Scope): readonly Instance[] {
  try {
    const model = tinyModel(decl, scope, new Map());
    return model === null ? [] : [model.instance];
  } catch (error) {
    // Too large, or without end: told by the check.
    if (error instanceof MoeError) return [];
    throw error;
  }
}

const NOWHERE: Place = { decls: [], instances: [] };

class FileUses extends BodyUses {
  module({ imports, items }: Module): void {
    for (const { names, from } of imports)
      for (const { name, alias } of names) {
        const binding = this.scope.lookup((alias ?? name).text);
        const declared: Declared | null =
          binding !== null ? itemOf(binding.item, binding.scope) : from === "std" ? builtin(name.text) : null;
        this.use(name, declared);
        if (alias !== null) this.use(alias, declared);
      }
    for (const item of items) this.item(item);
  }

  protected item(item: Item): void {
    if ("name" in item) this.use(item.name, itemOf(item, this.scope));
    this.within([], () => {
      switch (item.kind) {
        case "dim":
          return this.expr(item.size);
        case "fn":
          return this.fn(item);
        case "layer":
          return this.layer(item);
        case "config":
          return this.config(item);
        case "map":
          return this.mapDecl(item);
        case "mixture":
          return this.mixture(item);
        case "upcycle":
          return this.upcycle(item);
        case "test":
          return this.test(item);
        default:
          return item satisfies never;
      }
    });
  }

  protected config({ model, fields }: ConfigDecl): void {
    const decl = this.model(model);
    for (const { name, value } of fields) {
      this.record(name, "label", parameterOf(decl, name));
      this.expr(value);
    }
  }

  protected mapDecl({ model, config, rules }: MapDecl): void {
    const decl = this.model(model);
    for (const param of decl?.params ?? []) this.known(param.name, "parameter");
    for (const { left, map, default: initial } of config) {
      this.expr(left);
      if (map !== null) this.readName(map);
      // Keys of the configuration, by their names.
      if (initial !== null)
        this.wording(
          () => true,
          () => this.expr(initial),
        );
    }
    this.mapRules(rules, this.placeOf(model));
  }

  protected mapRules(rules: readonly MapRule[], root: Place): void {
    for (const rule of rules) {
      switch (rule.kind) {
        case "stored":
          this.use(rule.encoding, { kind: "word", text: rule.encoding.text });
          break;
        case "ignore":
          if (rule.same !== null) this.path(rule.same, root);
          if (rule.otherwise !== null) {
            this.readName(rule.otherwise.name);
            this.expr(rule.otherwise.value);
          }
          break;
        case "either":
          for (const inner of rule.alternatives) this.within([], () => this.mapRules(inner, root));
          break;
        case "pair":
          this.within([], () => {
            const [inside = NOWHERE] = rule.left.map((path) => this.path(path, root));
            // Sizes of a layout and conditions are those of the layer that the path leads to.
            this.wording(
              () => true,
              () => {
                for (const axis of rule.layout ?? []) if (axis.kind === "axis") this.expr(axis.size);
                if (rule.condition !== null) this.expr(rule.condition);
              },
            );
            this.mapRules(rule.rules ?? [], inside);
          });
          break;
        default:
          rule satisfies never;
      }
    }
  }

  /** `blocks[l].attn.q` from the members of `root` on; brackets bind variables. Gives where it leads. */
  protected path(path: Expr, root: Place): Place {
    switch (path.kind) {
      case "name":
        return this.step(path.name, root);
      case "member":
        return this.step(path.name, this.path(path.object, root));
      case "bracket": {
        const place = this.path(path.object, root);
        for (const item of path.items) {
          if (item.kind === "name" && this.lookup(item.name) === null) this.introduce(item.name, "index");
          else this.expr(item);
        }
        return place;
      }
      default:
        this.expr(path);
        return NOWHERE;
    }
  }

  private step(name: Name, from: Place): Place {
    const member = from.decls.flatMap((decl) => decl.members).find((m) => m.name.text === name.text);
    this.record(name, "step", member === undefined ? null : { kind: "member", name: member.name });
    const instances = from.instances.flatMap(({ members }): readonly Instance[] => {
      const found = members.get(name.text);
      return found?.kind === "layer" ? [found.instance] : found?.kind === "stack" ? [...new Set(found.layers)] : [];
    });
    return { decls: instances.map(({ decl }) => decl), instances };
  }

  protected mixture({ model, args, of, ofArgs, rules }: MixtureDecl): void {
    const [made, dense] = [this.model(model), this.model(of)];
    const sides = [
      { own: made, other: dense, list: args },
      { own: dense, other: made, list: ofArgs },
    ];
    for (const { own, other, list } of sides)
      this.within([], () => {
        for (const param of other?.params ?? []) this.known(param.name, "parameter");
        for (const { name, value } of list) {
          if (name !== null) this.record(name, "label", parameterOf(own, name));
          this.expr(value);
        }
      });
    for (const param of made?.params ?? []) this.known(param.name, "parameter");
    this.wording(isUpcycleWord, () => this.rules(rules, this.placeOf(model)));
  }

  protected upcycle({ params, target, targetOf, targetArgs, where, rules, ensures }: UpcycleDecl): void {
    for (const { name, source, default: initial } of params) {
      if (source !== null) {
        if (source.model.text === "model") this.use(source.model, { kind: "word", text: "model" });
        else this.readName(source.model);
        if (source.count !== null) this.introduce(source.count, "parameter");
      }
      this.introduce(name, "parameter");
      // It may be a setting of the sources.
      if (initial !== null)
        this.wording(
          () => true,
          () => this.expr(initial),
        );
    }
    const decl = this.layerNamed(target);
    this.use(target, this.lookup(target) ?? { kind: "word", text: target.text });
    if (targetOf !== null) this.readName(targetOf);
    this.verbs = isVerb;
    // Settings of the sources, whatever model they are of.
    this.wording(
      () => true,
      () => {
        for (const { name, value } of targetArgs) {
          if (name !== null) this.record(name, "label", parameterOf(decl, name) ?? { kind: "word", text: name.text });
          this.expr(value);
        }
        for (const condition of where) this.expr(condition);
        this.rules(rules, targetOf === null ? this.placeOf(target) : NOWHERE);
        for (const contract of ensures) this.expr(contract);
      },
    );
    this.verbs = () => false;
  }

  protected rules(rules: readonly UpcycleRule[], root: Place): void {
    for (const rule of rules)
      this.within([], () => {
        switch (rule.kind) {
          case "default":
            return this.expr(rule.value);
          case "ignore":
            return this.sourcePath(rule.path);
          case "assign":
            this.path(rule.path, root);
            return this.expr(rule.value);
          case "scope":
            return this.rules(rule.rules, this.path(rule.path, root));
          default:
            return rule satisfies never;
        }
      });
  }

  /** `src.blocks[l].mlp`: begins with a source. */
  protected sourcePath(path: Expr): void {
    if (path.kind === "member") {
      this.sourcePath(path.object);
      this.record(path.name, "step", null);
    } else if (path.kind === "bracket") {
      this.sourcePath(path.object);
      for (const item of path.items)
        if (item.kind === "name" && this.lookup(item.name) === null) this.introduce(item.name, "index");
        else this.expr(item);
    } else this.expr(path);
  }

  protected test({ subject, statements }: TestDecl): void {
    this.expr(subject);
    const head = subject.kind === "call" ? subject.callee : subject;
    const decl = head.kind === "name" ? this.layerNamed(head.name) : null;
    for (const statement of statements)
      this.within([], () => {
        if (statement.kind === "expect")
          return this.wording(
            () => true,
            () => this.expr(statement.value),
          );
        const { path } = statement;
        const port =
          path.kind === "name" ? decl?.forward?.params.find((p) => p.name.text === path.name.text) : undefined;
        if (path.kind === "name" && port !== undefined) this.use(path.name, { kind: "argument", name: port.name });
        else if (path.kind === "name" && BUILTINS.has(path.name.text)) this.readName(path.name);
        else this.path(path, { decls: decl === null ? [] : [decl], instances: [] });
        this.expr(statement.value);
      });
  }

  /** A model that a declaration is about; null where it is not known. */
  protected model(name: Name): LayerDecl | null {
    this.readName(name);
    return this.layerNamed(name);
  }

  /** A model with all that it is made of, at small sizes. */
  private placeOf(name: Name): Place {
    const found = this.scope.lookup(name.text);
    if (found?.item.kind !== "layer") return NOWHERE;
    return { decls: [found.item], instances: instancesOf(found.item, found.scope) };
  }

  protected layerNamed(name: Name): LayerDecl | null {
    const found = this.scope.lookup(name.text);
    return found?.item.kind === "layer" ? found.item : null;
  }
}

const isUpcycleWord = (text: string): boolean => isVerb(text) || text === "self";
