// Reads declarative Jenkinsfiles: Groovy itself compiles each, and a block takes only the directives that the syntax of
// declarative pipelines has there. Prints a line of JSON for each: its stages with their commands, or its fault.
import groovy.json.JsonOutput

class Block {
    String name
    Map<String, List> found = [:]
    static final Map<String, List<String>> DIRECTIVES = [
        pipeline   : ['agent', 'options', 'environment', 'parameters', 'triggers', 'tools', 'stages', 'post'],
        stages     : ['stage'],
        stage      : ['agent', 'options', 'environment', 'when', 'input', 'tools', 'steps', 'stages', 'parallel', 'post'],
        steps      : ['sh', 'echo', 'input', 'archiveArtifacts', 'junit'],
        when       : ['branch', 'expression', 'not', 'allOf', 'anyOf', 'environment', 'beforeAgent'],
        agent      : ['label', 'docker', 'node'],
        options    : ['disableConcurrentBuilds', 'timeout', 'timestamps', 'buildDiscarder', 'retry', 'skipDefaultCheckout'],
        environment: ['credentials'],
        post       : ['always', 'success', 'failure'],
    ]
    static final List<String> ONCE = ['agent', 'options', 'environment', 'when', 'steps', 'stages', 'post']

    def methodMissing(String directive, args) {
        if (!(directive in DIRECTIVES[name])) throw new IllegalArgumentException("$name { } has no directive '$directive'")
        if (directive in ONCE && found[directive]) throw new IllegalArgumentException("$name { } has two of '$directive'")
        def given = args as List
        def body = given && given.last() instanceof Closure ? new Block(name: directive).read(given.last()) : null
        if (directive == 'stage') {
            if (!(given[0] instanceof String)) throw new IllegalArgumentException("a stage has no name")
            def kinds = ['steps', 'stages', 'parallel'].findAll { body.found[it] }
            if (kinds.size() != 1) throw new IllegalArgumentException("stage '${given[0]}' needs one of steps, stages, parallel")
        }
        found.computeIfAbsent(directive) { [] } << [args: given.findAll { !(it instanceof Closure) }, body: body]
        directive
    }

    void propertyMissing(String variable, value) {
        if (name != 'environment') throw new IllegalArgumentException("$name { } sets $variable")
        found.computeIfAbsent(variable) { [] } << value
    }

    def propertyMissing(String word) {
        if (name == 'pipeline' && word in ['any', 'none']) return word
        throw new IllegalArgumentException("$name { }: what is '$word'?")
    }

    Block read(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
        this
    }
}

abstract class Declarative extends Script {
    static Block read

    void pipeline(Closure body) { read = new Block(name: 'pipeline').read(body) }
}

List stagesOf(File file) {
    Declarative.read = null
    def settings = new org.codehaus.groovy.control.CompilerConfiguration(scriptBaseClass: 'Declarative')
    new GroovyShell(this.class.classLoader, new Binding(), settings).evaluate(file)
    if (!Declarative.read) throw new IllegalArgumentException('there is no pipeline { }')
    ['agent', 'stages'].each { if (!Declarative.read.found[it]) throw new IllegalArgumentException("pipeline { } needs $it") }
    Declarative.read.found.stages[0].body.found.stage.collect { stage ->
        def steps = stage.body.found.steps[0].body.found
        [
            name       : stage.args[0],
            commands   : (steps.sh ?: []).collect { it.args[0] },
            asks       : steps.containsKey('input'),
            branch     : stage.body.found.when?.getAt(0)?.body?.found?.branch?.getAt(0)?.args?.getAt(0),
            environment: (stage.body.found.environment?.getAt(0)?.body?.found?.keySet() ?: []) - 'credentials',
        ]
    }
}

args.each { path ->
    try {
        println JsonOutput.toJson([stages: stagesOf(new File(path))])
    } catch (Exception fault) {
        println JsonOutput.toJson([fault: fault.message])
    }
}
