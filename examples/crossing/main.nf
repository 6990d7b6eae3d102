// Passengers are weighed, seated and rowed across; then the log of the day is written.
params.passengers = ['heron', 'otter', 'swift']
params.wind = 'fair'
params.outdir = 'results'

process WEIGH {
    tag "$passenger"
    input:
    val passenger
    output:
    tuple val(passenger), path('weight.txt')
    script:
    """
    sleep 0.\$(( RANDOM % 5 + 2 ))
    echo \$(( \$(printf '%s' '$passenger' | wc -c) * 11 )) > weight.txt
    echo "$passenger weighs \$(cat weight.txt) stone"
    """
}

process SEAT {
    tag "$passenger"
    input:
    tuple val(passenger), path(weight)
    output:
    tuple val(passenger), path('seat.txt')
    script:
    """
    if [ \$(cat $weight) -gt 55 ]; then echo stern > seat.txt; else echo bow > seat.txt; fi
    """
}

process ROW {
    tag "$passenger"
    cpus 1
    memory '64 MB'
    input:
    tuple val(passenger), path(seat)
    output:
    path 'crossing.txt'
    script:
    """
    echo "rowing with a ${params.wind} wind"
    sleep 1
    echo "$passenger crossed in the \$(cat $seat)" > crossing.txt
    """
}

process LOG_BOOK {
    publishDir params.outdir, mode: 'copy'
    input:
    path 'crossing*.txt'
    output:
    path 'log-book.txt'
    script:
    """
    sort crossing*.txt > log-book.txt
    """
}

workflow {
    Channel.fromList(params.passengers) | WEIGH | SEAT | ROW | collect | LOG_BOOK
    LOG_BOOK.out.view { book -> "Log book:\n" + book.text }
}
